use candle_core::Tensor;
use proptest::prelude::*;
use tallow_ops::{Lora, Randomness, Traced, linear, lora_linear};

use crate::harness::{DEVICE, Random, check, check_with_dropout, config};

fn product(x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
    x.matmul(&weight.t()?)
}

/// x, W, A, B.
fn lora_inputs(seed: u64, [n, inputs, outputs, rank]: [usize; 4]) -> Vec<Tensor> {
    let mut random = Random(seed);
    vec![
        random.tensor((n, inputs), 1.0),
        random.tensor((outputs, inputs), 0.3),
        random.tensor((rank, inputs), 0.3),
        random.tensor((outputs, rank), 0.3),
    ]
}

fn lora<'a>(inputs: &'a [Traced], scale: f64, dropout: f64) -> Lora<'a> {
    Lora { a: &inputs[2], b: &inputs[3], scale, dropout }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn linear_is_a_product(seed: u64, n in 1usize..40, inputs in 1usize..70, outputs in 1usize..70) {
        let mut random = Random(seed);
        check(
            vec![random.tensor((n, inputs), 1.0), random.tensor((outputs, inputs), 0.3)],
            |tape, x| linear(tape, &x[0], &x[1]),
            |x| Ok(product(&x[0], &x[1])?),
        );
    }

    #[test]
    fn lora_linear_adds_a_scaled_update(
        seed: u64, n in 1usize..40, inputs in 1usize..70, outputs in 1usize..70, rank in 1usize..9,
    ) {
        check(
            lora_inputs(seed, [n, inputs, outputs, rank]),
            |tape, x| lora_linear(tape, &x[0], &x[1], lora(x, 1.7, 0.1)),
            |x| Ok((product(&x[0], &x[1])? + (product(&product(&x[0], &x[2])?, &x[3])? * 1.7)?)?),
        );
    }

    #[test]
    fn lora_linear_drops_the_input_of_the_update_only(
        seed: u64, n in 1usize..40, inputs in 1usize..70, outputs in 1usize..70, p in 0.1f64..0.7,
    ) {
        let randomness = Randomness::new(seed, 3, 1);
        let mask = randomness.mask(0, p);
        let factors: Vec<f32> = (0..(n * inputs) as u32).map(|i| mask.factor(i)).collect();
        let factors = Tensor::from_vec(factors, (n, inputs), DEVICE).unwrap();
        check_with_dropout(
            randomness,
            lora_inputs(seed, [n, inputs, outputs, 4]),
            |tape, x| lora_linear(tape, &x[0], &x[1], lora(x, 0.5, p)),
            |x| {
                let dropped = (&x[0] * &factors)?;
                Ok((product(&x[0], &x[1])? + (product(&product(&dropped, &x[2])?, &x[3])? * 0.5)?)?)
            },
        );
    }
}
