use candle_core::{DType, Tensor};
use proptest::prelude::*;
use tallow_ops::{AdamW, ParameterSpec, Parameters, Update, number};

use crate::harness::{DEVICE, Random, assert_close, both, composed, config, flat};

/// torch.optim.AdamW, single-tensor form, in f64.
#[derive(Default)]
struct Reference {
    p: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
}

impl Reference {
    fn step(&mut self, adamw: AdamW, gradients: &[f32], rate: f64, decay: f64, scale: f64, step: u64) {
        let step = step as i32;
        let (correction1, correction2) = (1.0 - adamw.beta1.powi(step), 1.0 - adamw.beta2.powi(step));
        for (i, g) in gradients.iter().enumerate() {
            let g = f64::from(*g) * scale;
            let (p, m, v) = (&mut self.p[i], &mut self.m[i], &mut self.v[i]);
            *p *= 1.0 - rate * decay;
            *m = adamw.beta1 * *m + (1.0 - adamw.beta1) * g;
            *v = adamw.beta2 * *v + (1.0 - adamw.beta2) * g * g;
            *p -= rate / correction1 * *m / ((*v).sqrt() / correction2.sqrt() + adamw.eps);
        }
    }
}

fn specs(random: &mut Random, sizes: &[(usize, f64, bool)]) -> Vec<ParameterSpec> {
    let spec = |(i, &(len, rate, decay)): (usize, &(usize, f64, bool))| {
        let value = random.tensor(len, 1.0);
        ParameterSpec { name: i.to_string(), value, rate, decay }
    };
    sizes.iter().enumerate().map(spec).collect()
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn steps_follow_torch(
        seed: u64,
        sizes in prop::collection::vec(
            (1usize..200, prop::sample::select(vec![1.0f64, 16.0]), any::<bool>()), 1..6),
        gradient_scale in 0.1f64..1.5,
        max_grad_norm in prop::sample::select(vec![0.0f64, 0.5, 100.0]),
        weight_decay in prop::sample::select(vec![0.0f64, 0.01, 0.3]),
    ) {
        let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
        for kernels in both() {
            let mut random = Random(seed);
            let parameters = Parameters::new(specs(&mut random, &sizes), DEVICE, DType::F32).unwrap();
            let gradients = parameters.gradients().unwrap();
            let mut reference: Vec<Reference> = (0..sizes.len())
                .map(|i| {
                    let p: Vec<f64> = flat(parameters.traced(i).value()).into_iter().map(f64::from).collect();
                    Reference { m: vec![0.0; p.len()], v: vec![0.0; p.len()], p }
                })
                .collect();
            for step in 1..=5 {
                let update = Update { step, learning_rate: 1e-2 / step as f64, gradient_scale, max_grad_norm };
                let new: Vec<Tensor> = sizes.iter().map(|&(len, ..)| random.tensor(len, 0.1)).collect();
                let wanted: f64 = new.iter().flat_map(flat).map(|x| f64::from(x).powi(2)).sum();
                let norm = wanted.sqrt() * gradient_scale;
                // torch.nn.utils.clip_grad_norm_
                let clip = if max_grad_norm > 0.0 { (max_grad_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
                for (i, reference) in reference.iter_mut().enumerate() {
                    let (_, rate, decay) = sizes[i];
                    parameters.view(i, &gradients).unwrap().slice_set(&new[i], 0, 0).unwrap();
                    let (rate, decay) = (update.learning_rate * rate, if decay { weight_decay } else { 0.0 });
                    reference.step(adamw, &flat(&new[i]), rate, decay, clip * gradient_scale, update.step);
                }
                let squares = number(&adamw.step(&*kernels, &parameters, &gradients, update).unwrap()).unwrap();
                assert!((squares - wanted).abs() <= 1e-5 * wanted, "{squares} for {wanted}");
                assert!(flat(&gradients).iter().all(|&g| g == 0.0), "the gradients are zeroed");
            }
            let len = parameters.buffer_len();
            for (i, reference) in reference.iter().enumerate() {
                for (third, wanted) in [&reference.p, &reference.m, &reference.v].into_iter().enumerate() {
                    let third = parameters.state().narrow(0, third * len, len).unwrap();
                    let found = parameters.view(i, &third).unwrap();
                    let wanted: Vec<f32> = wanted.iter().map(|&x| x as f32).collect();
                    assert_close(&found, &Tensor::new(wanted, DEVICE).unwrap(), 2e-6, kernels.name());
                }
            }
            let state = flat(parameters.state());
            for third in state.chunks(len) {
                for entry in parameters.entries() {
                    let end = entry.offset + entry.len();
                    assert!(third[end..end.next_multiple_of(64)].iter().all(|&x| x == 0.0), "a gap is written");
                }
            }
        }
    }

    #[test]
    fn sums_of_squares_are_summed(seed: u64, len in 0usize..100_000) {
        let x = Random(seed).tensor(len, 3.0);
        let wanted: f64 = flat(&x).iter().map(|&x| f64::from(x).powi(2)).sum();
        for kernels in both() {
            let found = number(&kernels.sum_of_squares(&x).unwrap()).unwrap();
            assert!((found - wanted).abs() <= 1e-5 * wanted, "{}: {found} for {wanted}", kernels.name());
        }
    }
}

#[test]
fn parameters_of_several_tasks_are_stepped_whole() {
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let parameters =
        Parameters::new(specs(&mut Random(1), &[(100_000, 1.0, true)]), DEVICE, DType::F32).unwrap();
    for kernels in both() {
        let before = flat(parameters.traced(0).value());
        let gradients = parameters.gradients().unwrap().affine(0.0, 1.0).unwrap();
        let update = Update { step: 1, learning_rate: 0.5, gradient_scale: 1.0, max_grad_norm: 0.0 };
        parameters.restore(&padded(&parameters, &before)).unwrap();
        adamw.step(&*kernels, &parameters, &gradients, update).unwrap();
        // The first step is the learning rate, towards less loss.
        for (before, after) in before.iter().zip(flat(parameters.traced(0).value())) {
            assert!((before - after - 0.5).abs() < 1e-5);
        }
    }
}

/// A state with these parameters and no moments.
fn padded(parameters: &Parameters, values: &[f32]) -> Tensor {
    let mut state = vec![0.0f32; 3 * parameters.buffer_len()];
    state[..values.len()].copy_from_slice(values);
    Tensor::new(state, DEVICE).unwrap()
}

#[test]
fn a_step_without_finite_gradients_changes_nothing() {
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
    let update = Update { step: 1, learning_rate: 0.5, gradient_scale: 1.0, max_grad_norm: 1.0 };
    let parameters = Parameters::new(specs(&mut Random(1), &[(100, 1.0, true)]), DEVICE, DType::F32).unwrap();
    for kernels in both() {
        for bad in [f32::NAN, f32::INFINITY] {
            let before = flat(parameters.state());
            let gradients = parameters.gradients().unwrap();
            gradients.slice_set(&Tensor::new(&[1f32, bad], DEVICE).unwrap(), 0, 0).unwrap();
            let squares = number(&adamw.step(&*kernels, &parameters, &gradients, update).unwrap()).unwrap();
            assert!(!squares.is_finite());
            assert_eq!(flat(parameters.state()), before);
            assert!(flat(&gradients).iter().all(|&g| g == 0.0), "the gradients are zeroed");
        }
    }
}

#[test]
fn the_copy_that_a_bf16_model_reads_follows_the_parameters() {
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
    let update = Update { step: 1, learning_rate: 0.5, gradient_scale: 1.0, max_grad_norm: 1.0 };
    let sizes = [(100, 1.0, true), (70, 16.0, false)];
    let parameters = Parameters::new(specs(&mut Random(1), &sizes), DEVICE, DType::BF16).unwrap();
    let check = || {
        for i in 0..sizes.len() {
            let (copy, value) = (parameters.traced(i).value().clone(), parameters.value(i));
            assert_eq!((copy.dtype(), value.dtype()), (DType::BF16, DType::F32));
            assert_eq!(flat(&copy.to_dtype(DType::F32).unwrap()), rounded(&value));
        }
    };
    check();
    let before = flat(parameters.state());
    let gradients = (parameters.gradients().unwrap() + 1.0).unwrap();
    adamw.step(&*composed(), &parameters, &gradients, update).unwrap();
    assert_ne!(flat(parameters.state()), before);
    check();
    parameters.restore(&Tensor::new(before, DEVICE).unwrap()).unwrap();
    check();
}

fn rounded(x: &Tensor) -> Vec<f32> {
    flat(&x.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap())
}

#[test]
fn nan_gradients_are_seen_in_the_norm() {
    let x = Tensor::new(&[1f32, f32::NAN, 2.0], DEVICE).unwrap();
    for kernels in both() {
        assert!(number(&kernels.sum_of_squares(&x).unwrap()).unwrap().is_nan());
    }
}
