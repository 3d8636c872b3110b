//! A number that is none reaches the loss: a silent one would train on.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use tallow_ops::{
    AttentionLayout, Result, Segments, Tape, Traced, add, add_rms_norm, add_vector, attention, cross_entropy,
    gated_gelu, linear, mul_vector, relu, rms_norm, scale,
};

use crate::harness::{DEVICE, Random, both, flat};

/// A tensor with one bad value, in the row `row` of `rows`.
fn spoilt(rows: usize, cols: usize, row: usize, bad: f32) -> Traced {
    let mut values = flat(&Random(1).tensor((rows, cols), 1.0));
    values[row * cols + cols / 2] = bad;
    Traced::constant(Tensor::from_vec(values, (rows, cols), DEVICE).unwrap())
}

fn fine(rows: usize, cols: usize) -> Traced {
    Traced::constant(Random(2).tensor((rows, cols), 1.0))
}

/// The rows of the output that hold a value that is not finite.
fn marked(run: impl Fn(&Tape) -> Result<Traced>) -> [Vec<usize>; 2] {
    both().map(|kernels| {
        let y = run(&Tape::off(kernels)).unwrap();
        let rows = y.value().dims().first().copied().unwrap_or(1);
        let values = flat(y.value());
        let row = values.len() / rows;
        (0..rows).filter(|i| values[i * row..][..row].iter().any(|x| !x.is_finite())).collect()
    })
}

#[test]
fn rows_with_nan_stay_marked_and_others_clean() {
    for bad in [f32::NAN, f32::INFINITY] {
        let x = spoilt(5, 80, 3, bad);
        let row = [vec![3], vec![3]];
        assert_eq!(marked(|tape| relu(tape, &x)), row);
        assert_eq!(marked(|tape| scale(tape, &x, 2.0)), row);
        assert_eq!(marked(|tape| add(tape, &x, &fine(5, 80))), row);
        assert_eq!(marked(|tape| gated_gelu(tape, &x, &fine(5, 80))), row);
        assert_eq!(marked(|tape| gated_gelu(tape, &fine(5, 80), &x)), row);
        assert_eq!(marked(|tape| linear(tape, &x, &fine(6, 80))), row);
        let ones = Traced::constant(Tensor::ones(80, DType::F32, DEVICE).unwrap());
        assert_eq!(marked(|tape| rms_norm(tape, &x, &ones, 1e-6)), row);
        assert_eq!(marked(|tape| mul_vector(tape, &x, &ones, None)), row);
        assert_eq!(marked(|tape| add_vector(tape, &x, &ones)), row);
        for [x, delta] in [[&x, &fine(5, 80)], [&fine(5, 80), &x]] {
            let both = |tape: &Tape| add_rms_norm(tape, x, delta, 0.0, &ones, 1e-6);
            assert_eq!(marked(|tape| Ok(both(tape)?[0].clone())), row);
            assert_eq!(marked(|tape| Ok(both(tape)?[1].clone())), row);
        }
    }
}

#[test]
fn attention_marks_the_rows_that_see_a_nan() {
    let rows = Arc::new(Segments::packed([3, 90]));
    let layout = AttentionLayout { heads: 2, causal: false, queries: rows.clone(), keys: rows };
    let clean = fine(93, 16);
    for bad in [f32::NAN, f32::INFINITY] {
        let x = spoilt(93, 16, 1, bad);
        let run = |qkv: [&Traced; 3]| marked(|tape| attention(tape, qkv, None, 0.0, &layout));
        assert_eq!(run([&x, &clean, &clean]), [vec![1], vec![1]]);
        assert_eq!(run([&clean, &clean, &x]), [vec![0, 1, 2], vec![0, 1, 2]]);
        // An infinite key may be infinitely far from a query.
        let [cpu, composed] = run([&clean, &x, &clean]);
        assert_eq!(cpu, composed);
        assert!(cpu.iter().all(|&row| row < 3) && (cpu.len() == 3 || bad.is_infinite()));
        let late = spoilt(93, 16, 91, bad);
        assert_eq!(run([&late, &clean, &clean]), [vec![91], vec![91]]);
    }
}

#[test]
fn one_bad_value_makes_the_loss_nan() {
    for bad in [f32::NAN, f32::INFINITY] {
        for smoothing in [0.0, 0.1] {
            let labels = Tensor::new(vec![7u32; 5], DEVICE).unwrap();
            let (x, head) = (spoilt(5, 80, 3, bad), spoilt(2000, 80, 1500, bad));
            let loss = |hidden: &Traced, head: &Traced| {
                both().map(|kernels| {
                    let loss = cross_entropy(&Tape::off(kernels), hidden, head, &labels, smoothing).unwrap();
                    flat(loss.value())[0]
                })
            };
            assert!(loss(&x, &fine(2000, 80)).iter().all(|loss| loss.is_nan()));
            assert!(loss(&fine(5, 80), &head).iter().all(|loss| !loss.is_finite()));
        }
    }
}
