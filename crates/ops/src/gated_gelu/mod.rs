//! The gated activation of T5 v1.1 and FLAN-T5.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Result, Tape, Traced, trace};

/// Raw gated activations and their gradients, over tensors of one shape.
pub trait GatedGeluKernel {
    /// gelu(gate) up, in the tanh form.
    ///
    /// # Errors
    /// If the shapes differ.
    fn gated_gelu(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor>;

    /// (dgate, dup). Takes dy, so that one of them can be written over it.
    ///
    /// # Errors
    /// If the shapes differ.
    fn gated_gelu_backward(&self, dy: Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)>;
}

/// y = gelu(gate) up: (n, f), (n, f) -> (n, f), GELU in its tanh form ("gelu_new"). Shazeer 2020.
/// Backward computes gelu again from the inputs.
///
/// # Errors
/// If the shapes differ.
pub fn gated_gelu(tape: &Tape, gate: &Traced, up: &Traced) -> Result<Traced> {
    let _span = trace::forward("gated_gelu");
    let y = tape.kernels().gated_gelu(gate.value(), up.value())?;
    let inputs = [gate, up];
    let (gate, up) = (gate.clone(), up.clone());
    let again = [gate.value(), up.value()].map(Tensor::clone);
    let y = tape.record("gated_gelu", y, &inputs, move |dy, gradients| {
        let (dgate, dup) = gradients.kernels().gated_gelu_backward(dy, gate.value(), up.value())?;
        gradients.give(&gate.target(), dgate)?;
        gradients.give(&up.target(), dup)
    });
    Ok(y.made_again(move |kernels| {
        let [gate, up] = again;
        kernels.gated_gelu(&gate, &up)
    }))
}
