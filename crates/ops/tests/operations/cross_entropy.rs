use candle_core::{D, Tensor};
use proptest::prelude::*;
use tallow_ops::{Result, Tape, Traced, cross_entropy};

use crate::harness::{DEVICE, Operation, Random, assert_close, both, check, config, flat};

fn plain(x: &[Tensor], labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let logits = x[0].matmul(&x[1].t()?)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_p = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let picked = log_p.gather(&labels.unsqueeze(1)?, 1)?.sum_all()?;
    let spread = log_p.mean(D::Minus1)?.sum_all()?;
    Ok(((picked * (smoothing - 1.0))? - (spread * smoothing)?)?)
}

fn check_shape(seed: u64, [m, d, vocabulary]: [usize; 3], smoothing: f64) {
    let mut random = Random(seed);
    let labels = Tensor::new(random.ids(m, vocabulary as u32), DEVICE).unwrap();
    check(
        vec![random.tensor((m, d), 1.0), random.tensor((vocabulary, d), 1.0 / (d as f64).sqrt())],
        |tape, x| cross_entropy(tape, &x[0], &x[1], &labels, smoothing),
        |x| plain(x, &labels, smoothing),
    );
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn the_loss_is_the_log_likelihood_of_the_labels(
        seed: u64,
        m in prop::sample::select(vec![1usize, 2, 7, 128, 129, 300]),
        d in 1usize..20,
        vocabulary in 2usize..90,
        smoothing in prop::sample::select(vec![0.0f64, 0.1]),
    ) {
        check_shape(seed, [m, d, vocabulary], smoothing);
    }
}

#[test]
fn a_vocabulary_beyond_one_slab_is_summed_whole() {
    check_shape(1, [5, 6, 2500], 0.1);
}

/// Too large for every subset: the logits of these rows are more than the CPU kernels hold at a time.
#[test]
fn many_rows_of_a_full_vocabulary_go_by_chunks() {
    let (m, d, vocabulary) = (300, 8, 32_128);
    let mut random = Random(2);
    let labels = Tensor::new(random.ids(m, vocabulary as u32), DEVICE).unwrap();
    let inputs = vec![random.tensor((m, d), 1.0), random.tensor((vocabulary, d), 0.3)];
    let vars: Vec<_> = inputs.iter().map(|x| candle_core::Var::from_tensor(x).unwrap()).collect();
    let wanted = plain(&[vars[0].as_tensor().clone(), vars[1].as_tensor().clone()], &labels, 0.1).unwrap();
    let store = wanted.backward().unwrap();
    let fused =
        |tape: &Tape, x: &[Traced]| -> Result<Traced> { cross_entropy(tape, &x[0], &x[1], &labels, 0.1) };
    let operation = Operation { inputs, fused: &fused, randomness: None };
    for kernels in both() {
        let found = operation.outcome(&kernels, &Tensor::new(1f32, DEVICE).unwrap());
        assert_close(&found.value, &wanted, 1e-5, kernels.name());
        for (found, var) in found.gradients.iter().zip(&vars) {
            assert_close(found, store.get(var).unwrap(), 1e-4, kernels.name());
        }
    }
}

#[test]
fn logits_far_apart_do_not_overflow() {
    let labels = Tensor::new(&[0u32, 1], DEVICE).unwrap();
    let hidden = Traced::constant(Tensor::new(&[[1000f32], [1000.0]], DEVICE).unwrap());
    let head = Traced::constant(Tensor::new(&[[1f32], [0.0]], DEVICE).unwrap());
    for kernels in both() {
        let loss = cross_entropy(&Tape::off(kernels), &hidden, &head, &labels, 0.0).unwrap();
        assert_eq!(flat(loss.value()), [1000.0]);
    }
}

#[test]
fn no_labels_cost_nothing() {
    let labels = Tensor::new(Vec::<u32>::new(), DEVICE).unwrap();
    let head = Traced::constant(Random(1).tensor((5, 3), 1.0));
    let hidden = Traced::constant(Tensor::zeros((0, 3), candle_core::DType::F32, DEVICE).unwrap());
    for kernels in both() {
        let loss = cross_entropy(&Tape::off(kernels), &hidden, &head, &labels, 0.1).unwrap();
        assert_eq!(flat(loss.value()), [0.0]);
    }
}
