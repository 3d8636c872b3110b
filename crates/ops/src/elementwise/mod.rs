//! Sums and multiples of whole tensors.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Dest, Result, Tape, Traced, trace};

/// Raw elementwise kernels, over tensors of one shape.
pub trait ElementwiseKernel {
    /// factor x.
    ///
    /// # Errors
    /// If x cannot be read.
    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor>;

    /// factor x, put or added where it is wanted.
    ///
    /// # Errors
    /// If the shapes differ.
    fn add(&self, dest: Dest, x: &Tensor, factor: f64) -> Result<Tensor>;

    /// factor x where factor is a tensor of one element.
    ///
    /// # Errors
    /// If factor has more elements, or the shapes differ.
    fn add_scaled(&self, dest: Dest, x: &Tensor, factor: &Tensor) -> Result<Tensor>;
}

/// y = a + b, of one shape, whatever it is. Backward: both receive dy.
///
/// # Errors
/// If the shapes differ.
pub fn add(tape: &Tape, a: &Traced, b: &Traced) -> Result<Traced> {
    let _span = trace::forward("add");
    let kernels = tape.kernels();
    let y = kernels.add(Dest::Add(kernels.scale(a.value(), 1.0)?), b.value(), 1.0)?;
    let targets = [a.target(), b.target()];
    Ok(tape.record("add", y, &[a, b], move |dy, gradients| {
        let kernels = gradients.kernels();
        let [a, b] = targets;
        gradients.add(&a, |da| kernels.add(da, &dy, 1.0))?;
        gradients.give(&b, dy)
    }))
}

/// y = factor x, of any shape. Backward: dx = factor dy.
///
/// # Errors
/// If x cannot be read.
pub fn scale(tape: &Tape, x: &Traced, factor: f64) -> Result<Traced> {
    let _span = trace::forward("scale");
    let y = tape.kernels().scale(x.value(), factor)?;
    let target = x.target();
    Ok(tape.record("scale", y, &[x], move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&target, |dx| kernels.add(dx, &dy, factor))
    }))
}
