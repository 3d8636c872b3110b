use candle_core::{DType, Tensor};

use super::EmbeddingKernel;
use crate::cuda::{Cuda, Module, module, operand, suffix, wanted};
use crate::{Dest, Error, Result};

const MODULE: Module = module!("embedding");

/// Threads to a place.
const THREADS: u32 = 256;

impl EmbeddingKernel for Cuda {
    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        let ((rows, d), n) = (table.dims2()?, ids.elem_count());
        let from = operand(table)?;
        let y = self.empty((n, d), from.dtype)?;
        self.kernel(&MODULE, &format!("tallow_embedding_{}", suffix(from.dtype)))?
            .arg(wanted(&y, from.dtype)?)
            .arg(from.pointer)
            .arg(wanted(ids, DType::U32)?)
            .arg(rows as i32)
            .arg(d as i32)
            .blocks((n as u32, 1), THREADS)?;
        Ok(y)
    }

    fn embedding_backward(&self, dest: Dest, dy: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
        let (n, d) = dy.dims2()?;
        let from = operand(dy)?;
        // Rows that were not looked up receive nothing: a fresh table starts from zeros.
        let table = match dest {
            Dest::New => self.zeros((rows, d), from.dtype)?,
            Dest::Add(table) if table.dims() == [rows, d] => table,
            Dest::Add(table) => {
                return Err(Error::shape("accumulate", format!("[{rows}, {d}] to {:?}", table.dims())));
            }
        };
        let to = operand(&table)?;
        let name = format!("tallow_embedding_backward_{}_{}", suffix(from.dtype), suffix(to.dtype));
        self.kernel(&MODULE, &name)?
            .arg(to.pointer)
            .arg(from.pointer)
            .arg(wanted(ids, DType::U32)?)
            .arg(n as i32)
            .arg(rows as i32)
            .arg(d as i32)
            .blocks((n as u32, 1), THREADS)?;
        Ok(table)
    }
}
