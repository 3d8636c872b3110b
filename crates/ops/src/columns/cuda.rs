use candle_core::{DType, Tensor};

use super::{ColumnsKernel, sizes};
use crate::cuda::{Cuda, Module, fill, module, operand, suffix, wanted};
use crate::{Dest, Result};

const MODULE: Module = module!("columns");

/// Threads to a row.
const THREADS: u32 = 256;
/// Rows whose part of a column's sum one thread gathers.
const SLICE: usize = 128;

impl ColumnsKernel for Cuda {
    fn mul_columns(&self, dest: Dest, x: &Tensor, factors: &Tensor, by: Option<&Tensor>) -> Result<Tensor> {
        let (n, d) = sizes(x, None, [Some(factors), by])?;
        let from = operand(x)?;
        let (factors, by) = (wanted(factors, from.dtype)?, optional(by, DType::F32)?);
        fill(self, dest, (n, d), from.dtype, |y, accumulate| {
            let name = format!("tallow_mul_columns_{}_{}", suffix(from.dtype), suffix(y.dtype));
            self.kernel(&MODULE, &name)?
                .arg(y.pointer)
                .arg(from.pointer)
                .arg(factors)
                .arg(by)
                .arg(d as i32)
                .arg(i32::from(accumulate))
                .blocks((n as u32, 1), THREADS)
        })
    }

    fn add_columns(&self, x: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (n, d) = sizes(x, None, [Some(b), None])?;
        let from = operand(x)?;
        let y = self.empty((n, d), from.dtype)?;
        self.kernel(&MODULE, &format!("tallow_add_columns_{}", suffix(from.dtype)))?
            .arg(wanted(&y, from.dtype)?)
            .arg(from.pointer)
            .arg(wanted(b, from.dtype)?)
            .arg(d as i32)
            .blocks((n as u32, 1), THREADS)?;
        Ok(y)
    }

    fn sum_columns(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: Option<&Tensor>,
        by: Option<&Tensor>,
        over: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (n, d) = sizes(dy, x, [by, over])?;
        let from = operand(dy)?;
        let (by, over) = (optional(by, DType::F32)?, optional(over, from.dtype)?);
        let slices = n.div_ceil(SLICE);
        let partial = self.empty((slices, d), DType::F32)?;
        self.kernel(&MODULE, &format!("tallow_sum_columns_partial_{}", suffix(from.dtype)))?
            .arg(wanted(&partial, DType::F32)?)
            .arg(from.pointer)
            .arg(optional(x, from.dtype)?)
            .arg(n as i32)
            .arg(SLICE as i32)
            .arg(d as i32)
            .blocks((slices as u32, (d as u32).div_ceil(THREADS)), THREADS)?;
        fill(self, dest, d, from.dtype, |sums, accumulate| {
            let name = format!("tallow_sum_columns_{}_{}", suffix(from.dtype), suffix(sums.dtype));
            self.kernel(&MODULE, &name)?
                .arg(sums.pointer)
                .arg(wanted(&partial, DType::F32)?)
                .arg(by)
                .arg(over)
                .arg(slices as i32)
                .arg(d as i32)
                .arg(i32::from(accumulate))
                .elements(d)
        })
    }
}

/// Where a tensor lies; null for none.
fn optional(tensor: Option<&Tensor>, dtype: DType) -> Result<u64> {
    tensor.map_or(Ok(0), |tensor| wanted(tensor, dtype))
}
