//! The activation of T5 v1.0.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Dest, Result, Tape, Traced, trace};

/// Raw rectified activations and their gradient, over tensors of one shape.
pub trait ReluKernel {
    /// max(x, 0).
    ///
    /// # Errors
    /// If x cannot be read.
    fn relu(&self, x: &Tensor) -> Result<Tensor>;

    /// dy where y > 0, else 0.
    ///
    /// # Errors
    /// If the shapes differ.
    fn relu_backward(&self, dest: Dest, dy: &Tensor, y: &Tensor) -> Result<Tensor>;
}

/// y = max(x, 0), of any shape. Keeps only y; the gradient at 0 is 0.
///
/// # Errors
/// If x cannot be read.
pub fn relu(tape: &Tape, x: &Traced) -> Result<Traced> {
    let _span = trace::forward("relu");
    let y = tape.kernels().relu(x.value())?;
    let (target, kept) = (x.target(), y.clone());
    let again = y.clone();
    let y = tape.record("relu", y, &[x], move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&target, |dx| kernels.relu_backward(dx, &dy, &kept))
    });
    // Kept anyway; what is dropped of it need not be kept too.
    Ok(y.made_again(move |_| Ok(again)))
}
