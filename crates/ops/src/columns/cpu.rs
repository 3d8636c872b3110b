use candle_core::Tensor;
use rayon::prelude::*;

use super::{ColumnsKernel, sizes};
use crate::cpu::{Cpu, fill, simd, task_rows, values};
use crate::{Dest, Result};

/// Columns that a task sums, over all rows: so that the sums do not depend on the threads. Fewer read too little of each.
const COLUMNS: usize = 1024;

impl ColumnsKernel for Cpu {
    fn mul_columns(&self, dest: Dest, x: &Tensor, factors: &Tensor, by: Option<&Tensor>) -> Result<Tensor> {
        let (n, d) = sizes(x, None, [Some(factors), by])?;
        let (x, mut factors) = (values(x)?, values(factors)?.to_vec());
        if let Some(by) = by {
            factors.iter_mut().zip(&*values(by)?).for_each(|(factor, by)| *factor *= by);
        }
        fill(dest, (n, d), |y, accumulate| match accumulate {
            true => each_row(y, &x, &factors, |y, x, factor| y + x * factor),
            false => each_row(y, &x, &factors, |_, x, factor| x * factor),
        })
    }

    fn add_columns(&self, x: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (n, d) = sizes(x, None, [Some(b), None])?;
        let (x, b) = (values(x)?, values(b)?);
        fill(Dest::New, (n, d), |y, _| each_row(y, &x, &b, |_, x, b| x + b))
    }

    fn sum_columns(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: Option<&Tensor>,
        by: Option<&Tensor>,
        over: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (_, d) = sizes(dy, x, [by, over])?;
        let dy = values(dy)?;
        let mut sums = match x {
            Some(x) => sum_rows(&dy, &values(x)?, d, |dy, x| dy * x),
            None => sum_rows(&dy, &dy, d, |dy, _| dy),
        };
        if let Some(by) = by {
            sums.iter_mut().zip(&*values(by)?).for_each(|(sum, by)| *sum *= by);
        }
        if let Some(over) = over {
            let divide = |(sum, &over): (&mut f32, &f32)| *sum = if over == 0.0 { 0.0 } else { *sum / over };
            sums.iter_mut().zip(&*values(over)?).for_each(divide);
        }
        fill(dest, d, |found, accumulate| match accumulate {
            true => found.iter_mut().zip(&sums).for_each(|(found, sum)| *found += sum),
            false => found.copy_from_slice(&sums),
        })
    }
}

/// y = f(y, x, vector) on every row.
fn each_row(y: &mut [f32], x: &[f32], vector: &[f32], f: impl Fn(f32, f32, f32) -> f32 + Sync) {
    let d = vector.len();
    let task = task_rows(d) * d;
    y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
        simd::run(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                    for ((y, x), v) in y.iter_mut().zip(x).zip(vector) {
                        *y = f(*y, *x, *v);
                    }
                }
            },
        );
    });
}

/// The sum of f(x, y) over the rows.
fn sum_rows(x: &[f32], y: &[f32], d: usize, f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    let mut sums = vec![0.0; d];
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(task, sums)| {
        let (first, len) = (task * COLUMNS, sums.len());
        simd::run(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(d).zip(y.chunks_exact(d)) {
                    for ((sum, x), y) in sums.iter_mut().zip(&x[first..][..len]).zip(&y[first..][..len]) {
                        *sum += f(*x, *y);
                    }
                }
            },
        );
    });
    sums
}
