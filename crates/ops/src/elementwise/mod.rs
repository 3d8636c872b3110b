//! Sums and multiples of whole tensors.

mod composed;
mod cpu;

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
