//! T5's relative-position bias by distance.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Dest, Result, Tape, Traced, trace};

/// Raw look-ups by bucket and their gradients.
pub trait PositionBiasKernel {
    /// table (buckets, heads), index (distances) -> (heads, distances), f32.
    ///
    /// # Errors
    /// If an index has no bucket.
    fn position_bias(&self, table: &Tensor, index: &Tensor) -> Result<Tensor>;

    /// dtable (buckets, heads), f32, from dy (heads, distances).
    ///
    /// # Errors
    /// If an index has no bucket.
    fn position_bias_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        index: &Tensor,
        buckets: usize,
    ) -> Result<Tensor>;
}

/// The bias of every distance: table (buckets, heads), the bucket of each distance, u32 -> (heads,
/// distances), f32. One such table serves every layer of a stack, and collects their gradients.
///
/// # Errors
/// If an index has no bucket.
pub fn position_bias(tape: &Tape, table: &Traced, index: &Tensor) -> Result<Traced> {
    let _span = trace::forward("position_bias");
    let y = tape.kernels().position_bias(table.value(), index)?;
    let (target, index, buckets) = (table.target(), index.clone(), table.value().dim(0)?);
    Ok(tape.record("position_bias", y, &[table], move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&target, |dest| kernels.position_bias_backward(dest, &dy, &index, buckets))
    }))
}
