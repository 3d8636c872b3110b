use candle_core::Tensor;
use rayon::prelude::*;

use super::ElementwiseKernel;
use crate::cpu::{Cpu, TASK, fill, simd, values};
use crate::{Dest, Error, Result};

impl ElementwiseKernel for Cpu {
    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        self.add(Dest::New, x, factor)
    }

    fn add(&self, dest: Dest, x: &Tensor, factor: f64) -> Result<Tensor> {
        let (x_values, factor) = (values(x)?, factor as f32);
        fill(dest, x.shape(), |y, accumulate| {
            y.par_chunks_mut(TASK).zip(x_values.par_chunks(TASK)).for_each(|(y, x)| {
                if !accumulate && factor == 1.0 {
                    return y.copy_from_slice(x);
                }
                simd::run(
                    #[inline(always)]
                    || {
                        for (y, x) in y.iter_mut().zip(x) {
                            *y = x * factor + if accumulate { *y } else { 0.0 };
                        }
                    },
                );
            });
        })
    }

    fn add_scaled(&self, dest: Dest, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
        let factor = match *values(factor)? {
            [factor] => f64::from(factor),
            _ => return Err(Error::shape("add_scaled", "the factor is not one number")),
        };
        self.add(dest, x, factor)
    }
}
