use candle_core::{DType, Tensor};

use super::PositionBiasKernel;
use crate::composed::{Composed, deliver, wide};
use crate::{Dest, Result};

impl PositionBiasKernel for Composed {
    fn position_bias(&self, table: &Tensor, index: &Tensor) -> Result<Tensor> {
        wide(&table.index_select(index, 0)?.t()?.contiguous()?)
    }

    fn position_bias_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        index: &Tensor,
        buckets: usize,
    ) -> Result<Tensor> {
        let table = Tensor::zeros((buckets, dy.dim(0)?), DType::F32, dy.device())?;
        deliver(dest, table.index_add(index, &wide(dy)?.t()?.contiguous()?, 0)?, DType::F32)
    }
}
