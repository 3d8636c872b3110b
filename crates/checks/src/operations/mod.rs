//! Every operation through two kinds of kernels.

mod cases;
mod random;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use tallow_ops::{
    Kernels, Operation, ParameterSpec, Parameters, Randomness, Result, Tape, Traced, add, scale,
};

pub use cases::{Extent, cases};

use crate::compare::distance;

type Run = Box<dyn Fn(&Arc<dyn Kernels>, DType) -> Result<Vec<Tensor>> + Send + Sync>;

/// One operation over one set of inputs.
pub struct Case {
    /// The operation.
    pub operation: Operation,
    /// The shapes, in words.
    pub name: String,
    run: Run,
}

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The operation's name.
    pub operation: &'static str,
    /// The shapes, in words.
    pub case: String,
    /// The type of the activations.
    pub dtype: &'static str,
    /// The greatest distance of an output or a gradient, relative to its norm.
    pub error: f64,
    /// The most that it may be.
    pub tolerance: f64,
    /// What failed, if the kernels gave no result.
    pub failure: Option<String>,
}

impl Finding {
    /// Whether the kernels agree.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.error <= self.tolerance
    }
}

/// The distance that is allowed between two ways to compute in `dtype`, relative to the norm.
pub fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-4 } else { 2e-2 }
}

impl Case {
    /// The outputs and gradients, on the CPU.
    ///
    /// # Errors
    /// If the kernels fail.
    pub fn run(&self, kernels: &Arc<dyn Kernels>, dtype: DType) -> Result<Vec<Tensor>> {
        let found = (self.run)(kernels, dtype)?;
        found.iter().map(|x| Ok(x.to_device(&Device::Cpu)?)).collect()
    }

    /// Compares two kinds of kernels, which may be of different devices.
    pub fn compare(&self, kernels: &Arc<dyn Kernels>, reference: &Arc<dyn Kernels>, dtype: DType) -> Finding {
        let both = self.run(kernels, dtype).and_then(|found| Ok((found, self.run(reference, dtype)?)));
        let (error, failure) = match both {
            Ok((found, wanted)) => {
                let distances = found.iter().zip(&wanted).map(|(found, wanted)| distance(found, wanted));
                // NaN is the worst of all.
                (distances.fold(0.0, |worst, x| if x <= worst { worst } else { x }), None)
            }
            Err(error) => (f64::NAN, Some(error.to_string())),
        };
        let (operation, tolerance) = (self.operation.name(), tolerance(dtype));
        Finding { operation, case: self.name.clone(), dtype: dtype.as_str(), error, tolerance, failure }
    }

    /// Whether a second run gives the same bits.
    ///
    /// # Errors
    /// If the kernels fail.
    pub fn repeats(&self, kernels: &Arc<dyn Kernels>, dtype: DType) -> Result<bool> {
        let (first, second) = (self.run(kernels, dtype)?, self.run(kernels, dtype)?);
        let bits = |x: &Tensor| -> Result<Vec<u64>> {
            let values = x.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            Ok(values.into_iter().map(f64::to_bits).collect())
        };
        for (first, second) in first.iter().zip(&second) {
            if bits(first)? != bits(second)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A case from anything that gives tensors.
    fn new(
        operation: Operation,
        name: impl Into<String>,
        run: impl Fn(&Arc<dyn Kernels>, DType) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Self {
        Self { operation, name: name.into(), run: Box::new(run) }
    }

    /// A case of an operation on a tape: its output, and its inputs' gradients, where the inputs are parameters, and
    /// where they are nodes that it reads twice: fresh results, sums in f32 and sums in the activations' type.
    fn on_tape(
        operation: Operation,
        name: impl Into<String>,
        inputs: Vec<Tensor>,
        dropout: bool,
        build: impl Fn(&Tape, &[Traced]) -> Result<Traced> + Send + Sync + 'static,
    ) -> Self {
        Self::new(operation, name, move |kernels, dtype| {
            let mut found = outcome(kernels, dtype, &inputs, dropout, &build)?;
            let twice = |tape: &Tape, inputs: &[Traced]| {
                let nodes = inputs.iter().map(|x| scale(tape, x, 1.0)).collect::<Result<Vec<_>>>()?;
                add(tape, &build(tape, &nodes)?, &build(tape, &nodes)?)
            };
            found.extend(outcome(kernels, dtype, &inputs, dropout, &twice)?);
            Ok(found)
        })
    }
}

fn outcome(
    kernels: &Arc<dyn Kernels>,
    dtype: DType,
    inputs: &[Tensor],
    dropout: bool,
    build: &dyn Fn(&Tape, &[Traced]) -> Result<Traced>,
) -> Result<Vec<Tensor>> {
    let device = kernels.device();
    let spec = |(i, x): (usize, &Tensor)| ParameterSpec::new(i.to_string(), x.clone());
    let parameters = Parameters::new(inputs.iter().enumerate().map(spec).collect(), device, dtype)?;
    let traced: Vec<Traced> = (0..inputs.len()).map(|i| parameters.traced(i)).collect();
    let tape = match dropout {
        true => Tape::with_dropout(kernels.clone(), Randomness::new(5, 1, 0)),
        false => Tape::new(kernels.clone()),
    };
    let output = build(&tape, &traced)?;
    let value = output.value().clone();
    let weights = random::Random::new(7).tensor(value.shape(), 1.0);
    let gradients = parameters.gradients()?;
    tape.backward(output, weights.to_device(device)?.to_dtype(value.dtype())?, &gradients)?;
    let mut found = vec![value];
    for i in 0..inputs.len() {
        found.push(parameters.view(i, &gradients)?);
    }
    Ok(found)
}
