//! Matrix products with accumulation: what linear layers and adapters are made of.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::{Dest, Result};

/// A matrix operand: a contiguous tensor of rank 2, as it lies or transposed.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    tensor: &'a Tensor,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    /// The tensor as it lies.
    pub fn new(tensor: &'a Tensor) -> Self {
        Self { tensor, transposed: false }
    }

    /// The transpose; nothing is copied.
    pub fn t(tensor: &'a Tensor) -> Self {
        Self { tensor, transposed: true }
    }
}

/// Raw products.
pub trait MatmulKernel {
    /// scale a b: (m, k), (k, n) -> (m, n).
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn matmul(&self, dest: Dest, a: Matrix, b: Matrix, scale: f64) -> Result<Tensor>;
}
