use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{AdamWKernel, Buffers, Range, Step};
use crate::cpu::{Cpu, TASK, overwrite, simd, values};
use crate::{Error, Result, number};

impl AdamWKernel for Cpu {
    fn adamw(&self, buffers: Buffers, ranges: &[Range], step: Step) -> Result<()> {
        let Buffers { state, gradients, squares, compute } = buffers;
        let n = gradients.elem_count();
        if let Some(copy) = compute {
            let what = format!("a compute copy in {:?}: these kernels read the parameters", copy.dtype());
            return Err(Error::shape("adamw", what));
        }
        if state.elem_count() != 3 * n {
            let what = format!("a state of {} for {n} gradients", state.elem_count());
            return Err(Error::shape("adamw", what));
        }
        let Some(scale) = step.factor(number(squares)?) else {
            return overwrite(gradients, |gradients| gradients.fill(0.0));
        };
        let scale = scale as f32;
        let mut done = Ok(());
        overwrite(state, |state| {
            let (p, moments) = state.split_at_mut(n);
            let (m, v) = moments.split_at_mut(n);
            done = overwrite(gradients, |g| {
                for range in ranges {
                    let span = range.start..range.end;
                    p[span.clone()]
                        .par_chunks_mut(TASK)
                        .zip(m[span.clone()].par_chunks_mut(TASK))
                        .zip(v[span.clone()].par_chunks_mut(TASK))
                        .zip(g[span].par_chunks_mut(TASK))
                        .for_each(|(((p, m), v), g)| {
                            simd::run(
                                #[inline(always)]
                                || update(p, m, v, g, range, &step, scale),
                            );
                        });
                }
            });
        })?;
        done
    }

    fn sum_of_squares(&self, x: &Tensor) -> Result<Tensor> {
        let x = values(x)?;
        let square = |x: &[f32]| {
            simd::run(
                #[inline(always)]
                || simd::sum2(x, x, |x, y| x * y),
            )
        };
        // Collected first: the order of the sum does not depend on the threads.
        let parts: Vec<f32> = x.par_chunks(TASK).map(square).collect();
        let sum: f64 = parts.into_iter().map(f64::from).sum();
        Ok(Tensor::new(sum, &Device::Cpu)?)
    }
}

#[inline(always)]
fn update(
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &mut [f32],
    range: &Range,
    step: &Step,
    scale: f32,
) {
    let (beta1, beta2) = (step.adamw.beta1 as f32, step.adamw.beta2 as f32);
    let (gain1, gain2) = ((1.0 - step.adamw.beta1) as f32, (1.0 - step.adamw.beta2) as f32);
    let (rate, keep) = (range.rate as f32, range.keep as f32);
    let (eps, root_scale) = (step.adamw.eps as f32, step.second_scale as f32);
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let gradient = *g * scale;
        *m = beta1 * *m + gain1 * gradient;
        *v = beta2 * *v + gain2 * gradient * gradient;
        *p = *p * keep - rate * *m / (v.sqrt() * root_scale + eps);
        *g = 0.0;
    }
}
