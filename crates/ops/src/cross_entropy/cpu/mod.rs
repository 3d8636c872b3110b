mod online;

use candle_core::Tensor;
use rayon::prelude::*;

use self::online::Online;
use super::{CrossEntropyKernel, CrossEntropyResult, Wanted};
use crate::cpu::gemm::{View, gemm};
use crate::cpu::{Cpu, even, scratch, simd, tensor, tokens, values};
use crate::{Error, HOST_LOGITS, Result};

/// Rows of the vocabulary to a task.
const SLAB: usize = 1024;

impl CrossEntropyKernel for Cpu {
    fn cross_entropy(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        wanted: Wanted,
    ) -> Result<CrossEntropyResult> {
        let ((m, d), (vocabulary, head_d)) = (hidden.dims2()?, head.dims2()?);
        let (x, head, labels) = (values(hidden)?, values(head)?, tokens(labels)?);
        if d != head_d || labels.len() != m {
            let what = format!("hidden ({m}, {d}), head ({vocabulary}, {head_d}), {} labels", labels.len());
            return Err(Error::shape("cross_entropy", what));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= vocabulary) {
            return Err(Error::shape("cross_entropy", format!("label {label} of {vocabulary}")));
        }
        // In even chunks: the head is read whole for each.
        let mut dx = wanted.hidden.then(|| scratch(m * d));
        if !wanted.head {
            let chunk = even(m, online::TOKENS);
            let mut loss = 0.0;
            for (i, labels) in labels.chunks(chunk).enumerate() {
                let rows = i * chunk * d..(i * chunk + labels.len()) * d;
                let hidden = View::new(&x[rows.clone()], labels.len(), d);
                let online = Online { hidden, head: &head, labels, smoothing: smoothing as f32 };
                loss += online.loss(dx.as_mut().map(|dx| &mut dx[rows]));
            }
            return Ok(CrossEntropyResult {
                loss: tensor(vec![loss as f32], ())?,
                hidden: dx.map(|dx| tensor(dx, (m, d))).transpose()?,
                head: None,
            });
        }
        // The head's gradient takes final probabilities, and so all logits of some rows at once.
        let chunk = even(m, HOST_LOGITS / vocabulary);
        let mut dhead = scratch(vocabulary * d);
        if m == 0 {
            dhead.fill(0.0);
        }
        // Laid out (V, rows): the product reads the head as it lies, and the loops run along the rows.
        let mut logits = scratch(vocabulary * chunk.min(m));
        let (smoothing, uniform) = (smoothing as f32, (smoothing / vocabulary as f64) as f32);
        let mut loss = 0.0f64;
        for (i, labels) in labels.chunks(chunk).enumerate() {
            let n = labels.len();
            let (logits, rows) = (&mut logits[..vocabulary * n], i * chunk * d..(i * chunk + n) * d);
            let x = View::new(&x[rows.clone()], n, d);
            let head = View::new(&head, vocabulary, d);
            gemm(logits, head, x.t(), 1.0, false);
            let at_label = |j: usize| labels[j] as usize * n + j;
            let lse = log_sum_exp(logits, n);
            let picked = (0..n).map(|j| f64::from(lse[j] - logits[at_label(j)])).sum::<f64>();
            loss += f64::from(1.0 - smoothing) * picked;
            if smoothing > 0.0 {
                let mean = sum_columns(logits, n).into_iter().map(|sum| sum / vocabulary as f64);
                let spread: f64 = mean.zip(&lse).map(|(mean, &lse)| f64::from(lse) - mean).sum();
                loss += f64::from(smoothing) * spread;
            }
            // d loss / d logit = p - (1 - e) [label] - e / V.
            logits.par_chunks_mut(SLAB * n).for_each(|slab| {
                simd::run(
                    #[inline(always)]
                    || {
                        for row in slab.chunks_exact_mut(n) {
                            for (x, lse) in row.iter_mut().zip(&lse) {
                                *x = simd::exp(*x - lse) - uniform;
                            }
                        }
                    },
                );
            });
            (0..n).for_each(|j| logits[at_label(j)] -= 1.0 - smoothing);
            let logits = View::new(logits, vocabulary, n);
            if let Some(dx) = &mut dx {
                gemm(&mut dx[rows], logits.t(), head, 1.0, false);
            }
            gemm(&mut dhead, logits, x, 1.0, i > 0);
        }
        Ok(CrossEntropyResult {
            loss: tensor(vec![loss as f32], ())?,
            hidden: dx.map(|dx| tensor(dx, (m, d))).transpose()?,
            head: Some(tensor(dhead, (vocabulary, d))?),
        })
    }
}

/// The sum over V of each of n columns of (V, n).
fn sum_columns(logits: &[f32], n: usize) -> Vec<f64> {
    let slabs: Vec<Vec<f64>> = logits
        .par_chunks(SLAB * n)
        .map(|slab| {
            let mut sums = vec![0.0f64; n];
            for row in slab.chunks_exact(n) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*x);
                }
            }
            sums
        })
        .collect();
    (0..n).map(|j| slabs.iter().map(|sums| sums[j]).sum()).collect()
}

/// log(sum over V of e^logit) for each of n columns of (V, n).
fn log_sum_exp(logits: &[f32], n: usize) -> Vec<f32> {
    let slabs = logits.par_chunks(SLAB * n).map(|slab| {
        let (mut max, mut sum) = (vec![f32::NEG_INFINITY; n], vec![0.0f32; n]);
        simd::run(
            #[inline(always)]
            || {
                for row in slab.chunks_exact(n) {
                    for (max, &x) in max.iter_mut().zip(row) {
                        *max = if x > *max { x } else { *max };
                    }
                }
                for row in slab.chunks_exact(n) {
                    for ((sum, max), x) in sum.iter_mut().zip(&max).zip(row) {
                        *sum += simd::exp(x - max);
                    }
                }
            },
        );
        (max, sum)
    });
    let slabs: Vec<_> = slabs.collect();
    (0..n)
        .map(|j| {
            let max = slabs.iter().map(|(max, _)| max[j]).fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = slabs.iter().map(|(m, sum)| f64::from(sum[j]) * f64::from(m[j] - max).exp()).sum();
            max + sum.ln() as f32
        })
        .collect()
}
