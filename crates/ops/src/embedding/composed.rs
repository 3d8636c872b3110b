use candle_core::{DType, Tensor};

use super::EmbeddingKernel;
use crate::composed::{Composed, deliver, wide};
use crate::{Dest, Result};

impl EmbeddingKernel for Composed {
    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        Ok(table.index_select(ids, 0)?)
    }

    fn embedding_backward(&self, dest: Dest, dy: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
        let table = Tensor::zeros((rows, dy.dim(1)?), DType::F32, dy.device())?;
        deliver(dest, table.index_add(ids, &wide(dy)?, 0)?, dy.dtype())
    }
}
