use candle_core::Tensor;
use rayon::prelude::*;

use super::ReluKernel;
use crate::cpu::{Cpu, TASK, fill, values};
use crate::{Dest, Result};

impl ReluKernel for Cpu {
    fn relu(&self, x: &Tensor) -> Result<Tensor> {
        let x_values = values(x)?;
        fill(Dest::New, x.shape(), |y, _| {
            y.par_chunks_mut(TASK).zip(x_values.par_chunks(TASK)).for_each(|(y, x)| {
                for (y, &x) in y.iter_mut().zip(x) {
                    // Written so that NaN stays NaN.
                    *y = if x < 0.0 { 0.0 } else { x };
                }
            });
        })
    }

    fn relu_backward(&self, dest: Dest, dy: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (dy, y_values) = (values(dy)?, values(y)?);
        fill(dest, y.shape(), |dx, accumulate| {
            dx.par_chunks_mut(TASK).zip(dy.par_chunks(TASK)).zip(y_values.par_chunks(TASK)).for_each(
                |((dx, dy), y)| {
                    for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
                        let gradient = if *y > 0.0 { *dy } else { 0.0 };
                        *dx = if accumulate { *dx + gradient } else { gradient };
                    }
                },
            );
        })
    }
}
