//! The loss, with the head's product in it.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Result, Tape, Traced, trace};

/// Which gradients are to be computed with the loss.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of the hidden states.
    pub hidden: bool,
    /// Of the head.
    pub head: bool,
}

/// The loss, and the gradients that were wanted, of the sum.
#[derive(Debug)]
pub struct CrossEntropyResult {
    /// The sum of the losses, a scalar, f32.
    pub loss: Tensor,
    /// (m, d), of the hidden states' type.
    pub hidden: Option<Tensor>,
    /// (V, d), f32.
    pub head: Option<Tensor>,
}

/// The raw loss.
pub trait CrossEntropyKernel {
    /// The sum of the losses of hidden (m, d) against labels (m), u32, through head (V, d); see
    /// [`cross_entropy`].
    ///
    /// # Errors
    /// If a label is no row of the head, or the shapes do not go together.
    fn cross_entropy(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        wanted: Wanted,
    ) -> Result<CrossEntropyResult>;
}

/// The sum over rows of (1 - e) (-log p_label) + e mean over V of (-log p), p = softmax(head hidden), e the
/// label smoothing: hidden (m, d), head (V, d), labels (m), u32 -> scalar. Szegedy et al. 2016, with the
/// uniform part over all of V, as transformers' LabelSmoother has it.
///
/// The logits, by chunks of rows, are never whole in memory. On a GPU a label past the head makes the loss
/// NaN, since to look for one would make the host wait. The gradients are computed on the way, while
/// the logits are there, and only weighted in backward.
///
/// # Errors
/// If a label is no row of the head, or the shapes do not go together.
pub fn cross_entropy(
    tape: &Tape,
    hidden: &Traced,
    head: &Traced,
    labels: &Tensor,
    smoothing: f64,
) -> Result<Traced> {
    let _span = trace::forward("cross_entropy");
    let wanted = Wanted { hidden: tape.records(&[hidden]), head: tape.records(&[head]) };
    let found = tape.kernels().cross_entropy(hidden.value(), head.value(), labels, smoothing, wanted)?;
    let targets = [hidden.target(), head.target()];
    let parts = [found.hidden, found.head];
    Ok(tape.record("cross_entropy", found.loss, &[hidden, head], move |dy, gradients| {
        let kernels = gradients.kernels();
        for (target, part) in targets.iter().zip(&parts) {
            if let Some(part) = part {
                gradients.add(target, |dest| kernels.add_scaled(dest, part, &dy))?;
            }
        }
        Ok(())
    }))
}
