use candle_core::Tensor;
use proptest::prelude::*;
use tallow_ops::{Randomness, add, dropout, gated_gelu, relu, scale};

use crate::harness::{DEVICE, Random, check, check_with_dropout, config};

/// The form of transformers' "gelu_new".
fn gelu(x: &Tensor) -> candle_core::Result<Tensor> {
    let inner = ((x + (x.powf(3.0)? * 0.044715)?)? * (2.0 / std::f64::consts::PI).sqrt())?;
    (x * 0.5)? * (inner.tanh()? + 1.0)?
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn gated_gelu_gates(seed: u64, n in 1usize..40, f in 1usize..100, size in 0.1f64..4.0) {
        let mut random = Random(seed);
        check(
            vec![random.tensor((n, f), size), random.tensor((n, f), 1.0)],
            |tape, x| gated_gelu(tape, &x[0], &x[1]),
            |x| Ok((gelu(&x[0])? * &x[1])?),
        );
    }

    #[test]
    fn relu_cuts_below_zero(seed: u64, n in 1usize..40, f in 1usize..100) {
        // Off the kink, where differences mean nothing.
        let x = Random(seed).tensor((n, f), 1.0);
        let x = (&x + (x.sign().unwrap() * 0.05).unwrap()).unwrap();
        check(
            vec![x],
            |tape, x| relu(tape, &x[0]),
            |x| Ok(x[0].relu()?),
        );
    }

    #[test]
    fn add_adds(seed: u64, n in 1usize..40) {
        let mut random = Random(seed);
        check(
            vec![random.tensor((n, 3), 1.0), random.tensor((n, 3), 2.0)],
            |tape, x| add(tape, &x[0], &x[1]),
            |x| Ok((&x[0] + &x[1])?),
        );
    }

    #[test]
    fn scale_multiplies(seed: u64, n in 1usize..40, factor in -3.0f64..3.0) {
        check(
            vec![Random(seed).tensor((n, 3), 1.0)],
            |tape, x| scale(tape, &x[0], factor),
            |x| Ok((&x[0] * factor)?),
        );
    }

    #[test]
    fn dropout_applies_its_mask(seed: u64, n in 1usize..40, p in 0.05f64..0.9) {
        let randomness = Randomness::new(seed, 1, 0);
        let mask = randomness.mask(0, p);
        let factors: Vec<f32> = (0..7 * n as u32).map(|i| mask.factor(i)).collect();
        let factors = Tensor::from_vec(factors, (n, 7), DEVICE).unwrap();
        check_with_dropout(
            randomness,
            vec![Random(seed).tensor((n, 7), 1.0)],
            |tape, x| dropout(tape, &x[0], p),
            |x| Ok((&x[0] * &factors)?),
        );
    }
}

#[test]
fn values_beyond_one_task_are_computed_too() {
    let mut random = Random(1);
    let mut wide = || random.tensor((70, 1000), 1.0);
    let (x, y) = (wide(), wide());
    check(
        vec![x.clone(), y.clone()],
        |tape, x| gated_gelu(tape, &x[0], &x[1]),
        |x| Ok((gelu(&x[0])? * &x[1])?),
    );
    check(vec![x.clone()], |tape, x| relu(tape, &x[0]), |x| Ok(x[0].relu()?));
    let randomness = Randomness::new(1, 1, 0);
    let mask = randomness.mask(0, 0.1);
    let factors: Vec<f32> = (0..70_000).map(|i| mask.factor(i)).collect();
    let factors = Tensor::from_vec(factors, (70, 1000), DEVICE).unwrap();
    check_with_dropout(randomness, vec![x], |tape, x| dropout(tape, &x[0], 0.1), |x| Ok((&x[0] * &factors)?));
}

/// One tensor under two roles is where an in-place gradient would be caught.
#[test]
fn a_gate_may_gate_itself() {
    check(
        vec![Random(4).tensor((6, 5), 1.0)],
        |tape, x| gated_gelu(tape, &x[0], &x[0]),
        |x| Ok((gelu(&x[0])? * &x[0])?),
    );
}
