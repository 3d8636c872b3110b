//! Rows of a table.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Dest, Result, Tape, Traced, trace};

/// Raw look-ups and their gradients.
pub trait EmbeddingKernel {
    /// Rows `ids` (n) of `table` (V, d) -> (n, d).
    ///
    /// # Errors
    /// If an id has no row.
    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor>;

    /// dtable (V, d) from dy (n, d): row v is the sum of the dy of every place that looked it up.
    ///
    /// # Errors
    /// If an id has no row.
    fn embedding_backward(&self, dest: Dest, dy: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor>;
}

/// Rows of a table: ids (n), u32, table (V, d) -> (n, d). The table receives a gradient only if it is
/// trained.
///
/// # Errors
/// If an id has no row.
pub fn embedding(tape: &Tape, table: &Traced, ids: &Tensor) -> Result<Traced> {
    let _span = trace::forward("embedding");
    let y = tape.kernels().embedding(table.value(), ids)?;
    let (target, ids, rows) = (table.target(), ids.clone(), table.value().dim(0)?);
    Ok(tape.record("embedding", y, &[table], move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&target, |dest| kernels.embedding_backward(dest, &dy, &ids, rows))
    }))
}
