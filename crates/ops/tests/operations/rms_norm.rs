use candle_core::D;
use proptest::prelude::*;
use tallow_ops::rms_norm;

use crate::harness::{Random, check, config};

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
