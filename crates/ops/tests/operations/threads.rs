//! The same bits from the same inputs, whatever the number of threads.

use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{
    AttentionLayout, Kernels, Result, Segments, Tape, Traced, attention, cross_entropy, gated_gelu, linear,
    mul_vector, rms_norm,
};

use crate::harness::{DEVICE, Operation, Outcome, Random, assert_close, bits, both, cpu};

fn in_pool(threads: usize, run: impl FnOnce() -> Outcome + Send) -> Outcome {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

fn all_bits(outcome: &Outcome) -> Vec<Vec<u32>> {
    std::iter::once(&outcome.value).chain(&outcome.gradients).map(bits).collect()
}

type Fused = dyn Fn(&Tape, &[Traced]) -> Result<Traced> + Sync;

fn outcome(kernels: &Arc<dyn Kernels>, inputs: &[Tensor], fused: &Fused, shape: &[usize]) -> Outcome {
    let operation = Operation { inputs: inputs.to_vec(), fused: &fused, randomness: None };
    operation.outcome(kernels, &Random(3).tensor(shape, 1.0))
}

/// Twice the same on every kernels; on the CPU the same in a pool of one thread, of two, and again.
fn same_bits(inputs: &[Tensor], fused: &Fused, shape: &[usize]) {
    for kernels in both() {
        let run = || all_bits(&outcome(&kernels, inputs, fused, shape));
        assert_eq!(run(), run(), "{}: two runs differ", kernels.name());
    }
    let run = |threads| all_bits(&in_pool(threads, || outcome(&cpu(), inputs, fused, shape)));
    let one = run(1);
    assert_eq!(one, run(2), "one thread and two differ");
    assert_eq!(one, run(1), "two runs in one thread differ");
}

#[test]
fn attention_does_not_depend_on_the_threads() {
    let rows = Arc::new(Segments::packed([70, 1, 300, 33]));
    let layout = AttentionLayout { heads: 3, causal: true, queries: rows.clone(), keys: rows };
    let mut random = Random(1);
    let mut inputs: Vec<Tensor> = (0..3).map(|_| random.tensor((404, 24), 0.6)).collect();
    inputs.push(random.tensor((3, 2 * 300 - 1), 1.0));
    let fused =
        move |tape: &Tape, x: &[Traced]| attention(tape, [&x[0], &x[1], &x[2]], Some(&x[3]), 0.0, &layout);
    same_bits(&inputs, &fused, &[404, 24]);
}

#[test]
fn rms_norm_does_not_depend_on_the_threads() {
    let mut random = Random(2);
    let inputs = [random.tensor((300, 512), 1.0), random.tensor(512, 1.0)];
    same_bits(&inputs, &|tape, x| rms_norm(tape, &x[0], &x[1], 1e-6), &[300, 512]);
}

#[test]
fn columns_do_not_depend_on_the_threads() {
    let mut random = Random(7);
    let inputs = [random.tensor((100, 1500), 1.0), random.tensor(1500, 1.0)];
    same_bits(&inputs, &|tape, x| mul_vector(tape, &x[0], &x[1], None), &[100, 1500]);
}

#[test]
fn gated_gelu_does_not_depend_on_the_threads() {
    let mut random = Random(3);
    let inputs = [random.tensor((100, 1000), 1.0), random.tensor((100, 1000), 1.0)];
    same_bits(&inputs, &|tape, x| gated_gelu(tape, &x[0], &x[1]), &[100, 1000]);
}

#[test]
fn cross_entropy_does_not_depend_on_the_threads() {
    let mut random = Random(4);
    let labels = Tensor::new(random.ids(50, 3000), DEVICE).unwrap();
    let inputs = [random.tensor((50, 64), 1.0), random.tensor((3000, 64), 0.2)];
    let fused = move |tape: &Tape, x: &[Traced]| cross_entropy(tape, &x[0], &x[1], &labels, 0.1);
    same_bits(&inputs, &fused, &[]);
}

#[test]
fn products_do_not_depend_on_the_threads() {
    let mut random = Random(5);
    let inputs = [random.tensor((200, 512), 1.0), random.tensor((384, 512), 0.1)];
    same_bits(&inputs, &|tape, x| linear(tape, &x[0], &x[1]), &[200, 384]);
}

/// As dealt to shards: a part of the rows gives the rows of the whole.
#[test]
fn rows_do_not_depend_on_their_company() {
    let mut random = Random(6);
    let (x, weight) = (random.tensor((40, 96), 1.0), random.tensor((64, 96), 0.1));
    let y = |x: &Tensor| {
        let (x, weight) = (Traced::constant(x.clone()), Traced::constant(weight.clone()));
        linear(&Tape::off(cpu()), &x, &weight).unwrap().value().clone()
    };
    let part = x.narrow(0, 10, 7).unwrap();
    assert_close(&y(&part), &y(&x).narrow(0, 10, 7).unwrap(), 1e-6, "a part of the rows");
}
