//! Dropout without stored masks.

mod composed;
mod cpu;
mod random;

use candle_core::Tensor;

pub use random::{Mask, Randomness};

use crate::{Dest, Result, Tape, Traced, trace};

/// Raw dropout: element i of x is kept, and scaled by 1 / (1 - p), if the mask says so.
pub trait DropoutKernel {
    /// mask x: any shape. It is its own gradient: dx = mask dy.
    ///
    /// # Errors
    /// If x cannot be read.
    fn dropout(&self, dest: Dest, x: &Tensor, mask: Mask) -> Result<Tensor>;
}

/// y = drop(x) + residual, of one shape. Srivastava et al. 2014, scaled in training.
///
/// Where the tape drops nothing and there is no residual, x itself. The mask is computed again in backward.
///
/// # Errors
/// If the shapes differ.
pub fn dropout(tape: &Tape, x: &Traced, p: f64, residual: Option<&Traced>) -> Result<Traced> {
    let _span = trace::forward("dropout");
    let kernels = tape.kernels();
    let mask = tape.mask(p);
    if mask.is_none() && residual.is_none() {
        return Ok(x.clone());
    }
    let dest = match residual {
        Some(residual) => Dest::Add(kernels.scale(residual.value(), 1.0)?),
        None => Dest::New,
    };
    let y = apply(&**kernels, dest, x.value(), mask)?;
    let mut inputs = vec![x];
    inputs.extend(residual);
    let (target, residual) = (x.target(), residual.map(Traced::target));
    Ok(tape.record("dropout", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&target, |dx| apply(&*kernels, dx, &dy, mask))?;
        residual.map_or(Ok(()), |residual| gradients.give(&residual, dy))
    }))
}

fn apply(kernels: &dyn crate::Kernels, dest: Dest, x: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
    match mask {
        Some(mask) => kernels.dropout(dest, x, mask),
        None => kernels.add(dest, x, 1.0),
    }
}
