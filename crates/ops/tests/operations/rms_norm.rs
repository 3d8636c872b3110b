use candle_core::{D, Tensor};
use proptest::prelude::*;
use tallow_ops::{Randomness, Result, Tape, Traced, add_rms_norm, rms_norm, scale};

use crate::harness::{DEVICE, Random, check, check_with_dropout, config};

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn rms_norm_divides_by_the_root_of_the_mean_square(
        seed: u64, n in 1usize..50, d in 1usize..300, size in 1e-3f64..1e2,
    ) {
        let mut random = Random(seed);
        check(
            vec![random.tensor((n, d), size), random.tensor(d, 1.0)],
            |tape, x| rms_norm(tape, &x[0], &x[1], 1e-6),
            |x| {
                let root = (x[0].sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
                Ok(x[0].broadcast_div(&root)?.broadcast_mul(&x[1])?)
            },
        );
    }
}

/// s and y of plain operations, joined to one output so that both receive gradients.
fn plain_sum(x: &[Tensor], factors: Option<&Tensor>) -> Result<Tensor> {
    let delta = factors.map_or(Ok(x[1].clone()), |factors| &x[1] * factors)?;
    let sum = (&x[0] + delta)?;
    let root = (sum.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
    Ok((sum.broadcast_div(&root)?.broadcast_mul(&x[2])? * 0.7)?.add(&sum)?)
}

/// The same of the operation: the next sum has the stream and 0.7 times its norm.
fn fused_sum(tape: &Tape, x: &[Traced], p: f64) -> Result<Traced> {
    let [sum, y] = add_rms_norm(tape, &x[0], &x[1], p, &x[2], 1e-6)?;
    let y = scale(tape, &y, 0.7)?;
    Ok(add_rms_norm(tape, &sum, &y, 0.0, &x[2], 1e-6)?[0].clone())
}

fn stream(random: &mut Random, n: usize, d: usize) -> Vec<Tensor> {
    vec![random.tensor((n, d), 1.0), random.tensor((n, d), 0.5), random.tensor(d, 1.0)]
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn the_residual_is_added_on_the_way(seed: u64, n in 1usize..50, d in 1usize..300) {
        let inputs = stream(&mut Random(seed), n, d);
        check(inputs, |tape, x| fused_sum(tape, x, 0.0), |x| plain_sum(x, None));
    }

    #[test]
    fn what_is_added_may_be_dropped(seed: u64, n in 1usize..50, d in 1usize..300, p in 0.1f64..0.7) {
        let randomness = Randomness::new(seed, 1, 0);
        let mask = randomness.mask(0, p);
        let factors: Vec<f32> = (0..(n * d) as u32).map(|i| mask.factor(i)).collect();
        let factors = Tensor::from_vec(factors, (n, d), DEVICE).unwrap();
        check_with_dropout(
            randomness,
            stream(&mut Random(seed), n, d),
            |tape, x| fused_sum(tape, x, p),
            |x| plain_sum(x, Some(&factors)),
        );
    }
}

#[test]
fn a_stream_of_several_tasks_is_added_to() {
    let randomness = Randomness::new(3, 1, 0);
    let mask = randomness.mask(0, 0.1);
    let factors =
        Tensor::from_vec((0..51_200).map(|i| mask.factor(i)).collect(), (100, 512), DEVICE).unwrap();
    check_with_dropout(
        randomness,
        stream(&mut Random(2), 100, 512),
        |tape, x| fused_sum(tape, x, 0.1),
        |x| plain_sum(x, Some(&factors)),
    );
}

#[test]
fn a_stream_may_be_added_to_itself() {
    let mut random = Random(4);
    check(
        vec![random.tensor((5, 12), 1.0), random.tensor(12, 1.0)],
        |tape, x| Ok(add_rms_norm(tape, &x[0], &x[0], 0.0, &x[1], 1e-6)?[1].clone()),
        |x| {
            let sum = (&x[0] * 2.0)?;
            let root = (sum.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
            Ok(sum.broadcast_div(&root)?.broadcast_mul(&x[1])?)
        },
    );
}

#[test]
fn rows_beyond_one_task_are_normalised_too() {
    let mut random = Random(1);
    check(
        vec![random.tensor((100, 512), 1.0), random.tensor(512, 1.0)],
        |tape, x| rms_norm(tape, &x[0], &x[1], 1e-6),
        |x| {
            let root = (x[0].sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
            Ok(x[0].broadcast_div(&root)?.broadcast_mul(&x[1])?)
        },
    );
}
