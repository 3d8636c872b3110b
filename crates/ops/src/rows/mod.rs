//! Rows put into a larger tensor: how a generation cache grows by a token.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::Result;

/// Raw row copies.
pub trait RowsKernel {
    /// Rows of `store` (m, d) become those of `rows` (n, d), in place: the ith of these goes to the row that the ith of
    /// `places` (n), u32, names.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn put_rows(&self, store: &Tensor, rows: &Tensor, places: &Tensor) -> Result<()>;
}
