use candle_core::{DType, Tensor};
use tallow_ops::{AdamW, Cpu, ParameterSpec, Parameters, Update};

use crate::harness::{DEVICE, Random, flat};

fn parameters() -> Parameters {
    let mut random = Random(1);
    let specs = vec![
        ParameterSpec::new("a", random.tensor((3, 5), 1.0)),
        ParameterSpec::new("b", random.tensor(64, 1.0)),
        ParameterSpec::new("c", random.tensor((2, 50), 1.0)),
    ];
    Parameters::new(specs, DEVICE, DType::F32).unwrap()
}

#[test]
fn parameters_start_at_multiples_of_64_and_keep_their_values() {
    let parameters = parameters();
    let offsets: Vec<usize> = parameters.entries().iter().map(|entry| entry.offset).collect();
    assert_eq!(offsets, [0, 64, 128]);
    assert_eq!(parameters.buffer_len(), 256);
    assert_eq!(parameters.trainable(), 15 + 64 + 100);
    assert_eq!(parameters.state().dims(), [3 * 256]);
    let mut random = Random(1);
    for (i, shape) in [vec![3, 5], vec![64], vec![2, 50]].into_iter().enumerate() {
        let wanted = random.tensor(shape.clone(), 1.0);
        let traced = parameters.traced(i);
        assert!(traced.is_traced());
        assert_eq!(traced.value().dims(), shape);
        assert_eq!(flat(traced.value()), flat(&wanted));
    }
    assert!(flat(parameters.state())[256..].iter().all(|&x| x == 0.0), "the moments begin at zero");
    assert!(flat(&parameters.gradients().unwrap()).iter().all(|&x| x == 0.0));
}

#[test]
fn values_of_other_types_and_layouts_become_contiguous_f32() {
    let value = Tensor::new(&[[1f64, 2.0, 3.0], [4.0, 5.0, 6.0]], DEVICE).unwrap().t().unwrap();
    let parameters = Parameters::new(vec![ParameterSpec::new("a", value)], DEVICE, DType::F32).unwrap();
    let traced = parameters.traced(0);
    assert_eq!(traced.value().dtype(), DType::F32);
    assert_eq!(traced.value().to_vec2::<f32>().unwrap(), [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
}

#[test]
fn traced_views_see_every_change() {
    let parameters = parameters();
    let views: Vec<_> = (0..3).map(|i| parameters.traced(i)).collect();
    let before: Vec<_> = views.iter().map(|view| flat(view.value())).collect();
    let saved = parameters.state().copy().unwrap();
    let gradients = parameters.gradients().unwrap().affine(0.0, 1.0).unwrap();
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let update = Update { step: 1, learning_rate: 0.5, gradient_scale: 1.0, max_grad_norm: 0.0 };
    adamw.step(&Cpu, &parameters, &gradients, update).unwrap();
    for (i, (view, before)) in views.iter().zip(&before).enumerate() {
        assert_eq!(flat(view.value()), flat(parameters.traced(i).value()));
        assert!(
            flat(view.value()).iter().zip(before).all(|(after, before)| (before - after - 0.5).abs() < 1e-5)
        );
    }
    parameters.restore(&saved).unwrap();
    for (view, before) in views.iter().zip(&before) {
        assert_eq!(&flat(view.value()), before);
    }
    assert_eq!(flat(parameters.state()), flat(&saved));
}

#[test]
fn a_state_of_another_length_is_refused() {
    let short = Tensor::zeros(100, DType::F32, DEVICE).unwrap();
    let error = parameters().restore(&short).unwrap_err();
    assert_eq!(error.to_string(), "restore: [100] values for a buffer of [768]");
    assert!(parameters().view(2, &short).is_err());
}

#[test]
fn there_may_be_nothing_to_train() {
    let parameters = Parameters::new(Vec::new(), DEVICE, DType::F32).unwrap();
    assert_eq!((parameters.trainable(), parameters.buffer_len()), (0, 0));
    let state = parameters.state().copy().unwrap();
    parameters.restore(&state).unwrap();
    assert_eq!(parameters.gradients().unwrap().dims(), [0]);
}
