use candle_core::{DType, Tensor};

use super::PositionBiasKernel;
use crate::cuda::{Cuda, Module, fill, module, operand, suffix, wanted};
use crate::{Dest, Result};

const MODULE: Module = module!("position_bias");

impl PositionBiasKernel for Cuda {
    fn position_bias(&self, table: &Tensor, index: &Tensor) -> Result<Tensor> {
        let ((buckets, heads), n) = (table.dims2()?, index.elem_count());
        let from = operand(table)?;
        let y = self.empty((heads, n), DType::F32)?;
        self.kernel(&MODULE, &format!("tallow_position_bias_{}", suffix(from.dtype)))?
            .arg(wanted(&y, DType::F32)?)
            .arg(from.pointer)
            .arg(wanted(index, DType::U32)?)
            .arg(buckets as i32)
            .arg(heads as i32)
            .arg(n as i32)
            .elements(heads * n)?;
        Ok(y)
    }

    fn position_bias_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        index: &Tensor,
        buckets: usize,
    ) -> Result<Tensor> {
        let (heads, n) = dy.dims2()?;
        let (from, index) = (wanted(dy, DType::F32)?, wanted(index, DType::U32)?);
        fill(self, dest, (buckets, heads), DType::F32, |table, accumulate| {
            self.kernel(&MODULE, &format!("tallow_position_bias_backward_{}", suffix(table.dtype)))?
                .arg(table.pointer)
                .arg(from)
                .arg(index)
                .arg(buckets as i32)
                .arg(heads as i32)
                .arg(n as i32)
                .arg(i32::from(accumulate))
                .elements(buckets * heads)
        })
    }
}
