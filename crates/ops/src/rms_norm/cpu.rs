use candle_core::Tensor;
use rayon::prelude::*;

use super::{Added, Normed, RmsNormKernel};
use crate::cpu::{Cpu, fill, scratch, simd, task_rows, tensor, values};
use crate::{Dest, Mask, Result};

impl RmsNormKernel for Cpu {
    fn rms_norm(&self, x: &Tensor, added: Option<Added>, weight: &Tensor, eps: f64) -> Result<Normed> {
        let (rows, d) = x.dims2()?;
        let (x, weight, eps) = (values(x)?, values(weight)?, eps as f32);
        let weight = &*weight;
        let block = task_rows(d);
        let (mut y, mut inverse) = (scratch(rows * d), scratch(rows));
        let sum = match added {
            None => {
                y.par_chunks_mut(block * d)
                    .zip(x.par_chunks(block * d))
                    .zip(inverse.par_chunks_mut(block))
                    .for_each(|((y, x), inverse)| normalise(y, x, weight, eps, inverse));
                None
            }
            Some(Added { value, mask }) => {
                let delta = values(value)?;
                let mut sum = scratch(rows * d);
                let inputs = x.par_chunks(block * d).zip(delta.par_chunks(block * d)).enumerate();
                y.par_chunks_mut(block * d)
                    .zip(sum.par_chunks_mut(block * d))
                    .zip(inverse.par_chunks_mut(block))
                    .zip(inputs)
                    .for_each(|(((y, sum), inverse), (task, (x, delta)))| {
                        let first = (task * block * d) as u32;
                        add(sum, x, delta, mask.map(|mask| (mask, first)));
                        normalise(y, sum, weight, eps, inverse);
                    });
                Some(tensor(sum, (rows, d))?)
            }
        };
        Ok(Normed { sum, y: tensor(y, (rows, d))?, inverse: tensor(inverse, (rows, 1))? })
    }

    fn rms_norm_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        let (rows, d) = x.dims2()?;
        let (dy, x, weight, inverse) = (values(dy)?, values(x)?, values(weight)?, values(inverse)?);
        let weight = &*weight;
        let block = task_rows(d);
        fill(dest, (rows, d), |dx, accumulate| {
            dx.par_chunks_mut(block * d)
                .zip(dy.par_chunks(block * d))
                .zip(x.par_chunks(block * d).zip(inverse.par_chunks(block)))
                .for_each(|((dx, dy), (x, inverse))| {
                    simd::run(
                        #[inline(always)]
                        || {
                            let rows = dx.chunks_exact_mut(d).zip(dy.chunks_exact(d)).zip(x.chunks_exact(d));
                            for (((dx, dy), x), &r) in rows.zip(inverse) {
                                row_backward(dx, dy, x, weight, r, accumulate);
                            }
                        },
                    );
                });
        })
    }

    fn rms_norm_backward_weight(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        let d = x.dim(1)?;
        let (dy, x, inverse) = (values(dy)?, values(x)?, values(inverse)?);
        fill(dest, d, |dw, accumulate| {
            if !accumulate {
                dw.fill(0.0);
            }
            simd::run(
                #[inline(always)]
                || {
                    for ((dy, x), &r) in dy.chunks_exact(d).zip(x.chunks_exact(d)).zip(&*inverse) {
                        for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
                            *dw += dy * x * r;
                        }
                    }
                },
            );
        })
    }
}

/// sum = x + drop(delta); the mask's index of the first element is given with it.
fn add(sum: &mut [f32], x: &[f32], delta: &[f32], mask: Option<(Mask, u32)>) {
    simd::run(
        #[inline(always)]
        || match mask {
            None => {
                for ((sum, x), delta) in sum.iter_mut().zip(x).zip(delta) {
                    *sum = x + delta;
                }
            }
            Some((mask, first)) => {
                let (sum, x) = (&mut sum[..delta.len()], &x[..delta.len()]);
                mask.each(first, delta, |i, kept| sum[i] = x[i] + kept);
            }
        },
    );
}

/// Rows of x times r and w.
fn normalise(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32, inverse: &mut [f32]) {
    let d = weight.len();
    simd::run(
        #[inline(always)]
        || {
            for ((y, x), inverse) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(inverse) {
                let r = 1.0 / (simd::sum2(x, x, |x, _| x * x) / d as f32 + eps).sqrt();
                *inverse = r;
                for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                    *y = x * r * w;
                }
            }
        },
    );
}

#[inline(always)]
fn row_backward(dx: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], r: f32, accumulate: bool) {
    let d = dx.len();
    let sum = simd::sum3(dy, x, weight, |dy, x, w| dy * x * w);
    let c = -sum * r * r * r / d as f32;
    for (((dx, dy), x), w) in dx.iter_mut().zip(dy).zip(x).zip(weight) {
        let gradient = x.mul_add(c, dy * w * r);
        *dx = if accumulate { *dx + gradient } else { gradient };
    }
}
