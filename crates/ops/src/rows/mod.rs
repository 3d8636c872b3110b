//! Rows put into a larger tensor: how a generation cache grows by a token.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::Result;

/// Raw row copies.
pub trait RowsKernel {
    /// Row i of `rows` (n, d) becomes row `places`[i] (n), u32, of `store` (m, d), in place.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn put_rows(&self, store: &Tensor, rows: &Tensor, places: &Tensor) -> Result<()>;
}
