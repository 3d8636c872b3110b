use candle_core::Tensor;

use super::PositionBiasKernel;
use crate::cpu::{Cpu, fill, tensor, tokens, values};
use crate::{Dest, Error, Result};

impl PositionBiasKernel for Cpu {
    fn position_bias(&self, table: &Tensor, index: &Tensor) -> Result<Tensor> {
        let (buckets, heads) = table.dims2()?;
        let (table, index) = (values(table)?, tokens(index)?);
        check(&index, buckets)?;
        let by_head = |head: usize| index.iter().map(move |&bucket| bucket as usize * heads + head);
        let y = (0..heads).flat_map(by_head).map(|at| table[at]).collect();
        tensor(y, (heads, index.len()))
    }

    fn position_bias_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        index: &Tensor,
        buckets: usize,
    ) -> Result<Tensor> {
        let heads = dy.dim(0)?;
        let (dy, index) = (values(dy)?, tokens(index)?);
        check(&index, buckets)?;
        fill(dest, (buckets, heads), |table, accumulate| {
            if !accumulate {
                table.fill(0.0);
            }
            for (head, dy) in dy.chunks_exact(index.len()).enumerate() {
                for (dy, &bucket) in dy.iter().zip(&*index) {
                    table[bucket as usize * heads + head] += dy;
                }
            }
        })
    }
}

fn check(index: &[u32], buckets: usize) -> Result<()> {
    match index.iter().find(|&&bucket| bucket as usize >= buckets) {
        Some(bucket) => Err(Error::shape("position_bias", format!("bucket {bucket} of {buckets}"))),
        None => Ok(()),
    }
}
