//! One operation, written fused and written plainly: everything that has to hold between the two.

use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor, Var};
use proptest::test_runner::{Config, RngSeed};
use tallow_ops::{
    Composed, Cpu, Kernels, ParameterSpec, Parameters, Randomness, Result, Tape, Traced, add, scale,
};

pub const DEVICE: &Device = &Device::Cpu;

/// The relative errors that are allowed, in norm.
const VALUE: f64 = 1e-5;
const GRADIENT: f64 = 1e-4;
const DIFFERENCE: f64 = 1e-2;

pub fn cpu() -> Arc<dyn Kernels> {
    Arc::new(Cpu)
}

pub fn composed() -> Arc<dyn Kernels> {
    Arc::new(Composed::new(Device::Cpu))
}

pub fn both() -> [Arc<dyn Kernels>; 2] {
    [cpu(), composed()]
}

/// A stream of numbers that a seed fixes (splitmix64).
pub struct Random(pub u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A tensor of independent values around 0, with this standard deviation.
    pub fn tensor(&mut self, shape: impl Into<Shape>, deviation: f64) -> Tensor {
        let shape = shape.into();
        // Twelve uniform numbers are near enough to a normal one.
        let mut normal = || (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| (deviation * normal()) as f32).collect();
        Tensor::from_vec(values, shape, DEVICE).unwrap()
    }

    /// n numbers below `end`.
    pub fn ids(&mut self, n: usize, end: u32) -> Vec<u32> {
        (0..n).map(|_| (self.bits() % u64::from(end)) as u32).collect()
    }
}

pub fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn bits(x: &Tensor) -> Vec<u32> {
    flat(x).into_iter().map(f32::to_bits).collect()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    flat(a).iter().zip(flat(b)).map(|(&a, b)| f64::from(a) * f64::from(b)).sum()
}

fn norm(x: &Tensor) -> f64 {
    dot(x, x).sqrt()
}

/// Asserts that two tensors agree, relative to the norm of `wanted`. NaN agrees with nothing.
#[track_caller]
pub fn assert_close(found: &Tensor, wanted: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), wanted.dims(), "{what}");
    let error = norm(&(found - wanted).unwrap());
    let wanted = norm(wanted);
    assert!(error <= tolerance * wanted + 1e-7, "{what}: off by {error:e} of {wanted:e}");
}

type Fused<'a> = dyn Fn(&Tape, &[Traced]) -> Result<Traced> + 'a;
type Plain<'a> = dyn Fn(&[Tensor]) -> Result<Tensor> + 'a;

/// An operation over tensors that may all be trained.
pub struct Operation<'a> {
    pub inputs: Vec<Tensor>,
    pub fused: &'a Fused<'a>,
    pub randomness: Option<Randomness>,
}

/// What an operation gives: its output, and its inputs' gradients.
pub struct Outcome {
    pub value: Tensor,
    pub gradients: Vec<Tensor>,
}

impl Operation<'_> {
    fn tape(&self, kernels: &Arc<dyn Kernels>) -> Tape {
        match self.randomness {
            Some(randomness) => Tape::with_dropout(kernels.clone(), randomness),
            None => Tape::new(kernels.clone()),
        }
    }

    fn parameters(&self) -> Parameters {
        let spec = |(i, x): (usize, &Tensor)| ParameterSpec::new(i.to_string(), x.clone());
        Parameters::new(self.inputs.iter().enumerate().map(spec).collect(), DEVICE, DType::F32).unwrap()
    }

    fn inputs(&self, parameters: &Parameters, traced: u32) -> Vec<Traced> {
        let input = |i: usize| match parameters.traced(i) {
            input if traced >> i & 1 == 1 => input,
            input => Traced::constant(input.value().clone()),
        };
        (0..self.inputs.len()).map(input).collect()
    }

    fn all(&self) -> u32 {
        (1 << self.inputs.len()) - 1
    }

    /// The output for other inputs.
    fn value(&self, kernels: &Arc<dyn Kernels>, inputs: &[Tensor]) -> Tensor {
        let inputs: Vec<_> = inputs.iter().cloned().map(Traced::constant).collect();
        (self.fused)(&self.tape(kernels), &inputs).unwrap().value().clone()
    }

    /// The output and gradients of `build` over the inputs, of which those in `traced` are trained; backward
    /// runs `times` times into one buffer.
    fn run(
        &self,
        kernels: &Arc<dyn Kernels>,
        traced: u32,
        weights: &Tensor,
        build: &Fused,
        times: usize,
    ) -> Outcome {
        let parameters = self.parameters();
        let inputs = self.inputs(&parameters, traced);
        let gradients = parameters.gradients().unwrap();
        let mut value = None;
        for _ in 0..times {
            let tape = self.tape(kernels);
            let output = build(&tape, &inputs).unwrap();
            assert!(output.is_traced());
            value = Some(output.value().clone());
            tape.backward(output, weights.copy().unwrap(), &gradients).unwrap();
        }
        let view = |i| parameters.view(i, &gradients).unwrap();
        let found: Vec<Tensor> = (0..self.inputs.len()).map(view).collect();
        let sum = |xs: &[f32]| xs.iter().map(|x| f64::from(x.abs())).sum::<f64>();
        let booked: f64 = found.iter().map(|x| sum(&flat(x))).sum();
        let total = sum(&flat(&gradients));
        assert!((total - booked).abs() <= 1e-9 * total, "something was written between the parameters");
        Outcome { value: value.unwrap(), gradients: found }
    }

    /// The output and all gradients, weighted by `weights`.
    pub fn outcome(&self, kernels: &Arc<dyn Kernels>, weights: &Tensor) -> Outcome {
        self.run(kernels, self.all(), weights, self.fused, 1)
    }

    fn oracle(&self, plain: &Plain, weights: &Tensor) -> Outcome {
        let vars: Vec<Var> = self.inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let value = plain(&inputs).unwrap();
        let store = (&value * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = |var: &Var| store.get(var).map_or_else(|| var.zeros_like().unwrap(), Clone::clone);
        Outcome { value: value.detach(), gradients: vars.iter().map(gradient).collect() }
    }

    /// Compares values, gradients, finite differences, every subset of traced inputs and accumulation.
    pub fn check(&self, plain: &Plain) {
        let shape = self.value(&cpu(), &self.inputs).shape().clone();
        let weights = Random(1).tensor(shape, 1.0);
        let wanted = self.oracle(plain, &weights);
        for kernels in both() {
            let found = self.outcome(&kernels, &weights);
            let name = kernels.name();
            assert_close(&found.value, &wanted.value, VALUE, name);
            let agree = |found: &[Tensor], factor: f64, traced: u32, what: &str| {
                for (i, (found, wanted)) in found.iter().zip(&wanted.gradients).enumerate() {
                    let factor = if traced >> i & 1 == 1 { factor } else { 0.0 };
                    let what = format!("{name}: {what} of input {i}");
                    assert_close(found, &(wanted * factor).unwrap(), GRADIENT, &what);
                    assert!(factor > 0.0 || flat(found).iter().all(|&x| x == 0.0), "{what}");
                }
            };
            agree(&found.gradients, 1.0, self.all(), "gradient");
            self.differences(&kernels, &found, &weights);
            for traced in self.subsets() {
                let found = self.run(&kernels, traced, &weights, self.fused, 1);
                agree(&found.gradients, 1.0, traced, &format!("gradient with {traced:b} traced,"));
            }
            let twice = self.run(&kernels, self.all(), &weights, self.fused, 2);
            agree(&twice.gradients, 2.0, self.all(), "gradient of two passes");
            let shared =
                self.run(&kernels, self.all(), &weights, &|tape, inputs| self.doubled(tape, inputs), 1);
            agree(&shared.gradients, 2.0, self.all(), "gradient through a shared node");
            self.check_untraced(&kernels);
        }
    }

    /// op(z) + op(z), z a node of its own for each input. With dropout the second would draw other masks:
    /// there the output is added to itself.
    fn doubled(&self, tape: &Tape, inputs: &[Traced]) -> Result<Traced> {
        let nodes = inputs.iter().map(|x| scale(tape, x, 1.0)).collect::<Result<Vec<_>>>()?;
        let a = (self.fused)(tape, &nodes)?;
        let b = if self.randomness.is_some() { a.clone() } else { (self.fused)(tape, &nodes)? };
        add(tape, &a, &b)
    }

    /// All but none and all; of large inputs only one at a time.
    fn subsets(&self) -> Vec<u32> {
        let large = self.inputs.iter().map(Tensor::elem_count).sum::<usize>() > 10_000;
        (1..self.all()).filter(|traced| !large || traced.is_power_of_two()).collect()
    }

    fn check_untraced(&self, kernels: &Arc<dyn Kernels>) {
        let parameters = self.parameters();
        let constants = self.inputs(&parameters, 0);
        assert!(!(self.fused)(&self.tape(kernels), &constants).unwrap().is_traced());
        let traced = self.inputs(&parameters, self.all());
        let y = (self.fused)(&Tape::off(kernels.clone()), &traced).unwrap();
        // An operation with nothing to do hands its input on.
        assert!(!y.is_traced() || traced.iter().any(|x| x.value().id() == y.value().id()));
    }

    /// Along the gradient the output changes as steeply as the gradient is long.
    fn differences(&self, kernels: &Arc<dyn Kernels>, found: &Outcome, weights: &Tensor) {
        let total = |xs: &[Tensor]| xs.iter().map(|x| dot(x, x)).sum::<f64>().sqrt();
        let (length, steepness) = (total(&self.inputs), total(&found.gradients));
        let step = 2e-3 * length;
        let noise = 1e-6 * norm(&(&found.value * weights).unwrap());
        if step * steepness <= 100.0 * noise {
            return;
        }
        let at = |step: f64| {
            let moved = |(x, g): (&Tensor, &Tensor)| (x + (g * (step / steepness)).unwrap()).unwrap();
            let inputs: Vec<_> = self.inputs.iter().zip(&found.gradients).map(moved).collect();
            dot(&self.value(kernels, &inputs), weights)
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        let error = (difference - steepness).abs() / steepness;
        assert!(error < DIFFERENCE, "{}: {difference} along a gradient of {steepness}", kernels.name());
    }
}

/// Checks an operation without dropout.
pub fn check(
    inputs: Vec<Tensor>,
    fused: impl Fn(&Tape, &[Traced]) -> Result<Traced>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    Operation { inputs, fused: &fused, randomness: None }.check(&plain);
}

/// Checks an operation with dropout.
pub fn check_with_dropout(
    randomness: Randomness,
    inputs: Vec<Tensor>,
    fused: impl Fn(&Tape, &[Traced]) -> Result<Traced>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    Operation { inputs, fused: &fused, randomness: Some(randomness) }.check(&plain);
}

/// The same few cases every time, and nothing written to the source tree.
pub fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::default() }
}
