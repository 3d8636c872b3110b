//! Root-mean-square normalisation, without mean and bias, with the residual's sum before it.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Dest, Error, Mask, Result, Tape, Traced, trace};

/// What is added to the residual stream before it is normalised.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// A sublayer's output, of the stream's shape.
    pub value: &'a Tensor,
    /// What is dropped of it.
    pub mask: Option<Mask>,
}

/// What normalisation gives.
#[derive(Debug)]
pub struct Normed {
    /// The sum, if something was added.
    pub sum: Option<Tensor>,
    /// The normalised sum.
    pub y: Tensor,
    /// r = 1 / sqrt(mean(sum^2) + eps) of each row, (n, 1), f32.
    pub inverse: Tensor,
}

/// Raw normalisation and its gradients; [`Normed`] says what `inverse` is.
pub trait RmsNormKernel {
    /// s = x + drop(added), and s r w: x (n, d), w (d) -> (n, d). The sum is f32; it is rounded where it is
    /// stored, not where it is normalised.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn rms_norm(&self, x: &Tensor, added: Option<Added>, weight: &Tensor, eps: f64) -> Result<Normed>;

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
    check(x, weight)?;
    let Normed { y, inverse, .. } = tape.kernels().rms_norm(x.value(), None, weight.value(), eps)?;
    Ok(record(tape, x, weight, y, inverse, eps))
}

/// The residual stream after a sublayer, and normalised for the next one: s = x + drop(delta) and
/// [`rms_norm`] of s, in one pass: x, delta (n, d), w (d) -> s, y (n, d). `dropout` is the probability that
/// an element of delta is dropped in training.
///
/// # Errors
/// If the shapes do not go together.
pub fn add_rms_norm(
    tape: &Tape,
    x: &Traced,
    delta: &Traced,
    dropout: f64,
    weight: &Traced,
    eps: f64,
) -> Result<[Traced; 2]> {
    let _span = trace::forward("rms_norm");
    check(x, weight)?;
    if x.value().dims() != delta.value().dims() {
        let what = format!("{:?} added to {:?}", delta.value().dims(), x.value().dims());
        return Err(Error::shape("rms_norm", what));
    }
    let mask = tape.mask(dropout);
    let added = Added { value: delta.value(), mask };
    let Normed { sum, y, inverse } = tape.kernels().rms_norm(x.value(), Some(added), weight.value(), eps)?;
    let sum = sum.ok_or_else(|| Error::shape("rms_norm", "the kernel gave no sum"))?;
    let targets = [x.target(), delta.target()];
    let sum = tape.record("rms_norm", sum, &[x, delta], move |dsum, gradients| {
        let kernels = gradients.kernels();
        let [x, delta] = targets;
        gradients.add(&delta, |dest| match mask {
            Some(mask) => kernels.dropout(dest, &dsum, mask),
            None => kernels.add(dest, &dsum, 1.0),
        })?;
        gradients.give(&x, dsum)
    });
    let y = record(tape, &sum, weight, y, inverse, eps);
    Ok([sum, y])
}

fn check(x: &Traced, weight: &Traced) -> Result<()> {
    let (_, d) = x.value().dims2()?;
    match weight.value().dims() == [d] {
        true => Ok(()),
        false => Err(Error::shape("rms_norm", format!("weight {:?} for rows of {d}", weight.value().dims()))),
    }
}

fn record(tape: &Tape, x: &Traced, weight: &Traced, y: Tensor, inverse: Tensor, eps: f64) -> Traced {
    let inputs = [x, weight];
    let (x, weight) = (x.clone(), weight.clone());
    // In bf16 the stored sum has been rounded, and y had not: made again, it differs in its last bit.
    let again = [x.value(), weight.value()].map(Tensor::clone);
    let y = tape.record("rms_norm", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients
            .add(&weight.target(), |dw| kernels.rms_norm_backward_weight(dw, &dy, x.value(), &inverse))?;
        gradients
            .add(&x.target(), |dx| kernels.rms_norm_backward(dx, &dy, x.value(), weight.value(), &inverse))
    });
    y.made_again(move |kernels| {
        let [x, weight] = again;
        Ok(kernels.rms_norm(&x, None, &weight, eps)?.y)
    })
}
