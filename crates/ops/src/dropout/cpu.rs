use candle_core::Tensor;
use rayon::prelude::*;

use super::{DropoutKernel, Mask};
use crate::cpu::{Cpu, TASK, fill, simd, values};
use crate::{Dest, Result};

impl DropoutKernel for Cpu {
    fn dropout(&self, dest: Dest, x: &Tensor, mask: Mask) -> Result<Tensor> {
        let x_values = values(x)?;
        fill(dest, x.shape(), |y, accumulate| {
            let tasks = y.par_chunks_mut(TASK).zip(x_values.par_chunks(TASK)).enumerate();
            tasks.for_each(|(task, (y, x))| {
                let first = (task * TASK) as u32;
                let y = &mut y[..x.len()];
                simd::run(
                    #[inline(always)]
                    || match accumulate {
                        true => mask.each(first, x, |i, kept| y[i] += kept),
                        false => mask.each(first, x, |i, kept| y[i] = kept),
                    },
                );
            });
        })
    }
}
