//! Root-mean-square normalisation, without mean and bias.

mod composed;
mod cpu;

use candle_core::Tensor;

use crate::{Dest, Error, Result, Tape, Traced, trace};

/// Raw normalisation and its gradients. `inverse` (n, 1) is r = 1 / sqrt(mean(x^2) + eps) of each row, f32.
pub trait RmsNormKernel {
    /// x r w: x (n, d), w (d) -> (n, d), and r.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)>;

    /// dx = r (w dy) - x r^3 / d sum(w dy x).
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn rms_norm_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor>;

    /// dw = sum over rows of dy x r.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn rms_norm_backward_weight(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor>;
}

/// y = x r w, r = 1 / sqrt(mean(x^2) + eps) by row: x (n, d), w (d) -> (n, d). Zhang and Sennrich 2019,
/// as T5's layer norm computes it: no mean, no bias, statistics in f32.
///
/// # Errors
/// If the shapes do not go together.
pub fn rms_norm(tape: &Tape, x: &Traced, weight: &Traced, eps: f64) -> Result<Traced> {
    let _span = trace::forward("rms_norm");
    let (_, d) = x.value().dims2()?;
    if weight.value().dims() != [d] {
        return Err(Error::shape("rms_norm", format!("weight {:?} for rows of {d}", weight.value().dims())));
    }
    let (y, inverse) = tape.kernels().rms_norm(x.value(), weight.value(), eps)?;
    let inputs = [x, weight];
    let (x, weight) = (x.clone(), weight.clone());
    Ok(tape.record("rms_norm", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients
            .add(&weight.target(), |dw| kernels.rms_norm_backward_weight(dw, &dy, x.value(), &inverse))?;
        gradients
            .add(&x.target(), |dx| kernels.rms_norm_backward(dx, &dy, x.value(), weight.value(), &inverse))
    }))
}
