use candle_core::Tensor;

use super::{MatmulKernel, Matrix};
use crate::cuda::{Cuda, Layout, Product, Size, fill, operand, wanted};
use crate::{Dest, Error, Result};

impl MatmulKernel for Cuda {
    fn matmul(&self, dest: Dest, a: Matrix, b: Matrix, scale: f64) -> Result<Tensor> {
        let ((m, k), (rows, n)) = (size(&a)?, size(&b)?);
        if k != rows {
            return Err(Error::shape("matmul", format!("({m}, {k}) x ({rows}, {n})")));
        }
        let from = operand(a.tensor)?;
        let other = crate::cuda::Operand { pointer: wanted(b.tensor, from.dtype)?, dtype: from.dtype };
        fill(self, dest, (m, n), from.dtype, |y, accumulate| {
            let (a, b) = (layout(&a)?, layout(&b)?);
            let size = Size { m, k, n };
            let product = Product { size, a, b, stride: n, scale: scale as f32, accumulate };
            self.gemm(product, from, other, y)
        })
    }
}

/// (rows, columns), as the product takes it.
fn size(matrix: &Matrix) -> Result<(usize, usize)> {
    let (rows, columns) = matrix.tensor.dims2()?;
    Ok(if matrix.transposed { (columns, rows) } else { (rows, columns) })
}

fn layout(matrix: &Matrix) -> Result<Layout> {
    let stride = matrix.tensor.dim(1)?;
    Ok(if matrix.transposed { Layout::t(stride) } else { Layout::plain(stride) })
}
