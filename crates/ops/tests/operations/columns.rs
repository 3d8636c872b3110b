use candle_core::{DType, Tensor};
use proptest::prelude::*;
use tallow_ops::{Dest, ParameterSpec, Parameters, Tape, add_vector, mul_vector, relu, scale};

use crate::harness::{DEVICE, Random, both, check, config, flat};

/// Off 0, where relu has a kink and differences mean nothing.
fn off_zero(x: &Tensor) -> Tensor {
    (x + (x.sign().unwrap() * 0.05).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn mul_vector_scales_columns(seed: u64, n in 1usize..40, d in 1usize..300) {
        let mut random = Random(seed);
        let by = random.tensor(d, 1.0);
        let inputs = vec![random.tensor((n, d), 1.0), random.tensor(d, 1.0)];
        check(inputs.clone(), |tape, x| mul_vector(tape, &x[0], &x[1], None), |x| Ok(x[0].broadcast_mul(&x[1])?));
        check(
            inputs,
            |tape, x| mul_vector(tape, &x[0], &x[1], Some(&by)),
            |x| Ok(x[0].broadcast_mul(&x[1])?.broadcast_mul(&by)?),
        );
    }

    #[test]
    fn what_is_made_again_is_scaled_too(seed: u64, n in 1usize..40, d in 1usize..100) {
        let mut random = Random(seed);
        let by = random.tensor(d, 1.0);
        let inputs = vec![off_zero(&random.tensor((n, d), 1.0)), random.tensor(d, 1.0), random.tensor(d, 1.0)];
        check(
            inputs,
            // The second product has the first made again, and relu's output with it.
            |tape, x| {
                let y = mul_vector(tape, &relu(tape, &x[0])?, &x[1], Some(&by))?;
                mul_vector(tape, &y, &x[2], None)
            },
            |x| Ok(x[0].relu()?.broadcast_mul(&x[1])?.broadcast_mul(&by)?.broadcast_mul(&x[2])?),
        );
    }

    #[test]
    fn add_vector_adds_to_every_row(seed: u64, n in 1usize..40, d in 1usize..300) {
        let mut random = Random(seed);
        check(
            vec![random.tensor((n, d), 1.0), random.tensor(d, 1.0)],
            |tape, x| add_vector(tape, &x[0], &x[1]),
            |x| Ok(x[0].broadcast_add(&x[1])?),
        );
    }
}

#[test]
fn rows_beyond_one_task_are_computed_too() {
    let mut random = Random(1);
    let inputs = vec![random.tensor((50, 1500), 1.0), random.tensor(1500, 1.0)];
    check(inputs.clone(), |tape, x| mul_vector(tape, &x[0], &x[1], None), |x| Ok(x[0].broadcast_mul(&x[1])?));
    check(inputs, |tape, x| add_vector(tape, &x[0], &x[1]), |x| Ok(x[0].broadcast_add(&x[1])?));
}

/// Its gradient cannot be had from the output alone; nothing divides by it either.
#[test]
fn a_factor_of_zero_receives_no_gradient_unless_the_input_is_there() {
    let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], DEVICE).unwrap();
    let factors = Tensor::new(&[0f32, 2.0], DEVICE).unwrap();
    let specs = vec![ParameterSpec::new("x", x), ParameterSpec::new("factors", factors)];
    let parameters = Parameters::new(specs, DEVICE, DType::F32).unwrap();
    for kernels in both() {
        for (again, wanted) in [(false, [0.0, 6.0]), (true, [4.0, 6.0])] {
            let tape = Tape::new(kernels.clone());
            let x = parameters.traced(0);
            let x = if again { relu(&tape, &x).unwrap() } else { scale(&tape, &x, 1.0).unwrap() };
            let y = mul_vector(&tape, &x, &parameters.traced(1), None).unwrap();
            let (dy, gradients) = (y.value().ones_like().unwrap(), parameters.gradients().unwrap());
            tape.backward(y, dy, &gradients).unwrap();
            assert_eq!(flat(&parameters.view(1, &gradients).unwrap()), wanted, "{}", kernels.name());
            assert_eq!(flat(&parameters.view(0, &gradients).unwrap()), [0.0, 2.0, 0.0, 2.0]);
        }
    }
}

#[test]
fn sums_of_no_rows_are_zero() {
    let empty = Tensor::zeros((0, 3), DType::F32, DEVICE).unwrap();
    for kernels in both() {
        let sums = kernels.sum_columns(Dest::New, &empty, None, None, None).unwrap();
        assert_eq!(flat(&sums), [0.0; 3], "{}", kernels.name());
    }
}
