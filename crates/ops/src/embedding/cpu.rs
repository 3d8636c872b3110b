use candle_core::Tensor;

use super::EmbeddingKernel;
use crate::cpu::{Cpu, fill, scratch, tensor, tokens, values};
use crate::{Dest, Error, Result};

impl EmbeddingKernel for Cpu {
    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        let (rows, d) = table.dims2()?;
        let (table, ids) = (values(table)?, tokens(ids)?);
        check(&ids, rows)?;
        let mut y = scratch(ids.len() * d);
        for (y, &id) in y.chunks_exact_mut(d).zip(&*ids) {
            y.copy_from_slice(&table[id as usize * d..][..d]);
        }
        tensor(y, (ids.len(), d))
    }

    fn embedding_backward(&self, dest: Dest, dy: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
        let d = dy.dim(1)?;
        let (dy, ids) = (values(dy)?, tokens(ids)?);
        check(&ids, rows)?;
        fill(dest, (rows, d), |table, accumulate| {
            if !accumulate {
                table.fill(0.0);
            }
            for (dy, &id) in dy.chunks_exact(d).zip(&*ids) {
                for (sum, dy) in table[id as usize * d..][..d].iter_mut().zip(dy) {
                    *sum += dy;
                }
            }
        })
    }
}

fn check(ids: &[u32], rows: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= rows) {
        Some(id) => Err(Error::shape("embedding", format!("id {id} in a table of {rows} rows"))),
        None => Ok(()),
    }
}
