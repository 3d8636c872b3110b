//! Dropout without stored masks.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod random;

use candle_core::Tensor;

pub(crate) use composed::dropped;
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

/// y = drop(x), of any shape. Srivastava et al. 2014, scaled in training.
///
/// Where the tape drops nothing, x itself. The mask is computed again in backward.
///
/// # Errors
/// If x cannot be read.
pub fn dropout(tape: &Tape, x: &Traced, p: f64) -> Result<Traced> {
    let _span = trace::forward("dropout");
    let Some(mask) = tape.mask(p) else { return Ok(x.clone()) };
    let y = tape.kernels().dropout(Dest::New, x.value(), mask)?;
    let target = x.target();
    let y = tape.record("dropout", y, &[x], move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&target, |dx| kernels.dropout(dx, &dy, mask))
    });
    if !x.is_made_again() {
        return Ok(y);
    }
    let x = x.keep();
    Ok(y.made_again(move |kernels| kernels.dropout(Dest::New, &x.take(kernels)?, mask)))
}
