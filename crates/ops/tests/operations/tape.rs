use candle_core::{DType, Tensor};
use tallow_ops::{
    ParameterSpec, Parameters, Randomness, Result, Tape, Traced, add, add_rms_norm, cross_entropy, dropout,
    embedding, gated_gelu, linear, rms_norm, scale,
};

use crate::harness::{DEVICE, Random, assert_close, both, check, flat};

/// A small model: gradients meet where the residual stream branches.
fn model(tape: &Tape, x: &[Traced], ids: &Tensor, labels: &Tensor) -> Result<Traced> {
    let [table, norm, gate, up, down] = x else { unreachable!("the model has five weights") };
    let mut hidden = embedding(tape, table, ids)?;
    let mut normed = rms_norm(tape, &hidden, norm, 1e-6)?;
    for _ in 0..2 {
        let gate = linear(tape, &normed, gate)?;
        let up = linear(tape, &normed, up)?;
        let down = linear(tape, &gated_gelu(tape, &gate, &up)?, down)?;
        [hidden, normed] = add_rms_norm(tape, &hidden, &down, 0.0, norm, 1e-6)?;
    }
    // The stream and its norm meet once more.
    let [sum, _] = add_rms_norm(tape, &hidden, &normed, 0.0, norm, 1e-6)?;
    scale(tape, &cross_entropy(tape, &sum, table, labels, 0.1)?, 2.0)
}

#[test]
fn operations_compose() {
    let mut random = Random(1);
    let ids = Tensor::new(random.ids(9, 20), DEVICE).unwrap();
    let labels = Tensor::new(random.ids(9, 20), DEVICE).unwrap();
    let inputs = vec![
        random.tensor((20, 12), 0.5),
        random.tensor(12, 1.0),
        random.tensor((24, 12), 0.3),
        random.tensor((24, 12), 0.3),
        random.tensor((12, 24), 0.3),
    ];
    check(
        inputs,
        |tape, x| model(tape, x, &ids, &labels),
        |x| {
            use candle_core::D;
            let product = |x: &Tensor, weight: &Tensor| x.matmul(&weight.t()?);
            let norm = |hidden: &Tensor| {
                let root = (hidden.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
                hidden.broadcast_div(&root)?.broadcast_mul(&x[1])
            };
            let mut hidden = x[0].index_select(&ids, 0)?;
            for _ in 0..2 {
                let normed = norm(&hidden)?;
                let gate = product(&normed, &x[2])?;
                let inner = ((&gate + (gate.powf(3.0)? * 0.044715)?)? * (2.0 / std::f64::consts::PI).sqrt())?;
                let gelu = ((gate * 0.5)? * (inner.tanh()? + 1.0)?)?;
                let up = product(&normed, &x[3])?;
                hidden = (product(&(gelu * up)?, &x[4])? + hidden)?;
            }
            let logits = product(&(&hidden + norm(&hidden)?)?, &x[0])?;
            let log_p = logits.broadcast_sub(&logits.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
            let picked = log_p.gather(&labels.unsqueeze(1)?, 1)?.sum_all()?;
            let loss = ((picked * -0.9)? - (log_p.mean(D::Minus1)?.sum_all()? * 0.1)?)?;
            Ok((loss * 2.0)?)
        },
    );
}

#[test]
fn operations_that_nothing_reads_are_skipped() {
    let parameters =
        Parameters::new(vec![ParameterSpec::new("x", Random(1).tensor((2, 3), 1.0))], DEVICE, DType::F32)
            .unwrap();
    for kernels in both() {
        let gradients = parameters.gradients().unwrap();
        let tape = Tape::new(kernels);
        let x = parameters.traced(0);
        let y = scale(&tape, &x, 2.0).unwrap();
        scale(&tape, &y, f64::NAN).unwrap();
        tape.backward(y, Tensor::ones((2, 3), DType::F32, DEVICE).unwrap(), &gradients).unwrap();
        assert_eq!(flat(&parameters.view(0, &gradients).unwrap()), [2.0; 6]);
    }
}

#[test]
fn a_parameter_and_a_constant_are_outputs_too() {
    let parameters =
        Parameters::new(vec![ParameterSpec::new("x", Random(1).tensor(2, 1.0))], DEVICE, DType::F32).unwrap();
    for kernels in both() {
        let gradients = parameters.gradients().unwrap();
        let ones = || Tensor::ones(2, DType::F32, DEVICE).unwrap();
        Tape::new(kernels.clone()).backward(Traced::constant(ones()), ones(), &gradients).unwrap();
        assert!(flat(&gradients).iter().all(|&g| g == 0.0));
        Tape::new(kernels).backward(parameters.traced(0), ones(), &gradients).unwrap();
        assert_close(&parameters.view(0, &gradients).unwrap(), &ones(), 0.0, "a parameter's own gradient");
    }
}

#[test]
fn a_part_that_is_run_again_has_the_same_gradients_and_masks() {
    let mut random = Random(4);
    let specs = [(3, 4), (4, 4)].map(|shape| ParameterSpec::new("x", random.tensor(shape, 1.0))).to_vec();
    let parameters = Parameters::new(specs, DEVICE, DType::F32).unwrap();
    let other = random.tensor((3, 4), 1.0);
    for kernels in both() {
        let gradients = |part: bool| {
            let tape = Tape::with_dropout(kernels.clone(), Randomness::new(1, 2, 3));
            let gradients = parameters.gradients().unwrap();
            let (weight, other) = (parameters.traced(1), Traced::constant(other.clone()));
            let x = dropout(&tape, &parameters.traced(0), 0.3).unwrap();
            // The part's inputs are read twice in it, and x once more behind it; a weight is read within.
            let run = move |tape: &Tape, inputs: &[Traced]| -> Result<Traced> {
                let y = dropout(tape, &linear(tape, &inputs[0], &weight)?, 0.5)?;
                add(tape, &add(tape, &y, &inputs[1])?, &inputs[0])
            };
            let y = match part {
                true => tape.checkpoint(&[&x, &other], run).unwrap(),
                false => run(&tape, &[x.clone(), other]).unwrap(),
            };
            let y = dropout(&tape, &add(&tape, &y, &x).unwrap(), 0.5).unwrap();
            let value = flat(y.value());
            tape.backward(y, Tensor::ones((3, 4), DType::F32, DEVICE).unwrap(), &gradients).unwrap();
            (value, flat(&gradients))
        };
        let (plain, again) = (gradients(false), gradients(true));
        assert_eq!(plain.0, again.0);
        let far = plain.1.iter().zip(&again.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "{}: {far}", kernels.name());
    }
}

#[test]
fn a_part_without_anything_trained_is_a_constant() {
    let x = Traced::constant(Random(1).tensor((2, 3), 1.0));
    for kernels in both() {
        for tape in [Tape::new(kernels.clone()), Tape::off(kernels)] {
            let y = tape.checkpoint(&[&x], |tape: &Tape, x: &[Traced]| scale(tape, &x[0], 2.0)).unwrap();
            assert!(!y.is_traced());
        }
    }
}

#[test]
fn sites_count_the_places_that_drop() {
    let randomness = Randomness::new(1, 2, 3);
    let [kernels, _] = both();
    let tape = Tape::with_dropout(kernels.clone(), randomness);
    assert_eq!(tape.mask(0.1), Some(randomness.mask(0, 0.1)));
    assert_eq!(tape.mask(0.0), None);
    assert_eq!(tape.mask(0.2), Some(randomness.mask(1, 0.2)));
    assert_eq!(Tape::new(kernels.clone()).mask(0.5), None);
    assert!(tape.drops(0.1) && !tape.drops(0.0));
    assert!(!Tape::new(kernels.clone()).drops(0.1));
    assert_eq!(tape.mask(0.2), Some(randomness.mask(2, 0.2)), "to ask is not to draw");
    assert_eq!(Tape::off(kernels).mask(0.5), None);
    assert_ne!(randomness.mask(0, 0.5), Randomness::new(1, 2, 4).mask(0, 0.5));
}
