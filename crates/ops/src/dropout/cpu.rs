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
                simd::run(
                    #[inline(always)]
                    || {
                        for ((y, x), i) in y.iter_mut().zip(x).zip(first..) {
                            let kept = x * mask.factor(i);
                            *y = if accumulate { *y + kept } else { kept };
                        }
                    },
                );
            });
        })
    }
}
