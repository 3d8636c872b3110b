//! The loss with the gradient of the head, from all logits of some hidden states at once.

use rayon::prelude::*;

use crate::cpu::gemm::{View, gemm};
use crate::cpu::{scratch, simd};

/// Rows of the vocabulary to a task.
const SLAB: usize = 1024;

/// The head, and its gradient so far.
pub(super) struct Stored<'a> {
    /// (V, d).
    head: View<'a>,
    gradient: Vec<f32>,
    /// Nothing was added to the gradient yet: what it holds is no number.
    is_new: bool,
    /// Laid out (V, rows): the product reads the head as it lies, and the loops run along the rows.
    logits: Vec<f32>,
}

impl<'a> Stored<'a> {
    /// For a head of (V, d).
    pub fn new(head: &'a [f32], d: usize) -> Self {
        let gradient = scratch(head.len());
        Self { head: View::new(head, head.len() / d, d), gradient, is_new: true, logits: Vec::new() }
    }

    /// The sum of the losses of `hidden`, (n, d), whose gradient is written to `dx`, if it is there; the head's is added
    /// to.
    pub fn loss(&mut self, hidden: View, labels: &[u32], smoothing: f64, dx: Option<&mut [f32]>) -> f64 {
        let (n, vocabulary) = (labels.len(), self.head.rows());
        if self.logits.len() < vocabulary * n {
            self.logits = scratch(vocabulary * n);
        }
        let logits = &mut self.logits[..vocabulary * n];
        gemm(logits, self.head, hidden.t(), 1.0, false);
        let at_label = |j: usize| labels[j] as usize * n + j;
        let lse = log_sum_exp(logits, n);
        let (smoothing, uniform) = (smoothing as f32, (smoothing / vocabulary as f64) as f32);
        let picked = (0..n).map(|j| f64::from(lse[j] - logits[at_label(j)])).sum::<f64>();
        let mut loss = f64::from(1.0 - smoothing) * picked;
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
        if let Some(dx) = dx {
            gemm(dx, logits.t(), self.head, 1.0, false);
        }
        gemm(&mut self.gradient, logits, hidden, 1.0, !self.is_new);
        self.is_new = false;
        loss
    }

    /// The head's gradient, (V, d).
    pub fn gradient(mut self) -> Vec<f32> {
        if self.is_new {
            self.gradient.fill(0.0);
        }
        self.gradient
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
