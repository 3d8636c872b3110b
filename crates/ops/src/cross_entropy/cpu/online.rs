//! The loss, and the gradient of the hidden states, in one pass over the head: no logit leaves the cache.
//!
//! As attention does it (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"): what has been summed
//! by a smaller maximum is scaled down when a greater one comes.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::gemm::{View, gemm_at};
use crate::cpu::{scratch, simd};
use crate::trace;

/// Rows of the head, and hidden states, to a block of logits.
const SLAB: usize = 512;
pub(super) const TOKENS: usize = 384;
/// Rows of the head to a task.
const SHARE: usize = 8 * SLAB;

/// Some hidden states against the head.
pub(super) struct Online<'a> {
    /// (n, d), at most [`TOKENS`] of them.
    pub hidden: View<'a>,
    /// (V, d).
    pub head: &'a [f32],
    /// Rows of the head.
    pub labels: &'a [u32],
    /// The share of the loss that is uniform over V.
    pub smoothing: f32,
}

/// What is known of the softmax of each hidden state over some rows of the head.
struct Part {
    max: Vec<f32>,
    /// Of e^(logit - max).
    sum: Vec<f32>,
    /// The label's logit, where its row is among these.
    label: Vec<f32>,
    /// Of the logits; only where the loss is smoothed.
    total: Vec<f64>,
    /// sum over V of e^(logit - max) head, (n, d); empty if it is not wanted.
    gradient: Vec<f32>,
}

impl Online<'_> {
    /// The sum of the losses. The gradient (n, d) is written to `gradient`, if it is there.
    pub fn loss(&self, gradient: Option<&mut [f32]>) -> f64 {
        let (n, d) = (self.hidden.rows(), self.hidden.cols());
        let vocabulary = self.head.len() / d;
        let wanted = gradient.is_some();
        trace::product(if wanted { 2 * n } else { n }, d, vocabulary);
        let shares = (0..vocabulary.div_ceil(SHARE)).into_par_iter();
        // Put together in order, so that the bits do not depend on the threads.
        let parts: Vec<Part> =
            shares.map(|i| self.part(i * SHARE..vocabulary.min((i + 1) * SHARE), wanted)).collect();
        let part = parts.into_iter().reduce(Part::with).expect("a head has rows");
        if let Some(gradient) = gradient {
            self.finish(&part, gradient);
        }
        let smoothing = f64::from(self.smoothing);
        (0..n)
            .map(|j| {
                let log_sum_exp = f64::from(part.max[j] + part.sum[j].ln());
                let spread =
                    if smoothing > 0.0 { log_sum_exp - part.total[j] / vocabulary as f64 } else { 0.0 };
                (1.0 - smoothing) * (log_sum_exp - f64::from(part.label[j])) + smoothing * spread
            })
            .sum()
    }

    /// The part of these rows of the head.
    fn part(&self, rows: Range<usize>, wants_gradient: bool) -> Part {
        let (n, d) = (self.hidden.rows(), self.hidden.cols());
        let mut part = Part {
            max: vec![f32::NEG_INFINITY; n],
            sum: vec![0.0; n],
            label: vec![f32::NEG_INFINITY; n],
            total: vec![0.0; n],
            gradient: if wants_gradient { scratch(n * d) } else { Vec::new() },
        };
        let mut logits = scratch(SLAB.min(rows.len()) * n);
        let mut factors = vec![0.0; n];
        for first in rows.clone().step_by(SLAB) {
            let slab = first..rows.end.min(first + SLAB);
            // Laid out (slab, n): the loops run along the hidden states.
            let logits = &mut logits[..slab.len() * n];
            let head = View::new(&self.head[slab.start * d..], slab.len(), d);
            // SAFETY: the logits have room for the product.
            unsafe { gemm_at(logits.as_mut_ptr(), n, head, self.hidden.t(), 1.0, false, 1) };
            for (j, label) in self.labels.iter().map(|&label| label as usize).enumerate() {
                if slab.contains(&label) {
                    part.label[j] = logits[(label - first) * n + j];
                }
            }
            if self.smoothing > 0.0 {
                for row in logits.chunks_exact(n) {
                    part.total.iter_mut().zip(row).for_each(|(total, x)| *total += f64::from(*x));
                }
            }
            part.exponentials(logits, &mut factors);
            if wants_gradient {
                let follows = first > rows.start;
                if follows {
                    scale_rows(&mut part.gradient, &factors);
                }
                let powers = View::new(logits, slab.len(), n).t();
                let gradient = part.gradient.as_mut_ptr();
                // SAFETY: the gradient has room for the product.
                unsafe { gemm_at(gradient, d, powers, head, 1.0, follows, 1) };
            }
        }
        part
    }

    /// sum over V of (p - e / V) head - (1 - e) head[label].
    fn finish(&self, part: &Part, gradient: &mut [f32]) {
        let d = self.hidden.cols();
        let vocabulary = self.head.len() / d;
        let uniform = (self.smoothing > 0.0).then(|| {
            let mut mean = vec![0.0f64; d];
            for row in self.head.chunks_exact(d) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
            }
            let weight = f64::from(self.smoothing) / vocabulary as f64;
            mean.into_iter().map(|x| (x * weight) as f32).collect::<Vec<_>>()
        });
        let rows = gradient.chunks_exact_mut(d).zip(part.gradient.chunks_exact(d));
        for (j, (row, sums)) in rows.enumerate() {
            let inverse = 1.0 / part.sum[j];
            let label = &self.head[self.labels[j] as usize * d..][..d];
            for ((y, x), w) in row.iter_mut().zip(sums).zip(label) {
                *y = x * inverse - (1.0 - self.smoothing) * w;
            }
            for (y, x) in row.iter_mut().zip(uniform.iter().flatten()) {
                *y -= x;
            }
        }
    }
}

impl Part {
    /// Logits (slab, n) to e^(logit - max), in place, by the new maximum; what has been summed so far is to be scaled by
    /// the factors.
    fn exponentials(&mut self, logits: &mut [f32], factors: &mut [f32]) {
        let n = factors.len();
        let (max, sum) = (&mut self.max[..n], &mut self.sum[..n]);
        simd::run(
            #[inline(always)]
            || {
                factors.copy_from_slice(max);
                for row in logits.chunks_exact(n) {
                    for (max, &x) in max.iter_mut().zip(row) {
                        *max = if x > *max { x } else { *max };
                    }
                }
                for ((factor, max), sum) in factors.iter_mut().zip(&*max).zip(&mut *sum) {
                    *factor = simd::exp(*factor - max);
                    *sum *= *factor;
                }
                for row in logits.chunks_exact_mut(n) {
                    for ((x, max), sum) in row.iter_mut().zip(&*max).zip(&mut *sum) {
                        *x = simd::exp(*x - max);
                        *sum += *x;
                    }
                }
            },
        );
    }

    /// Of the rows of both.
    fn with(mut self, mut other: Self) -> Self {
        let max: Vec<f32> = self.max.iter().zip(&other.max).map(|(a, b)| a.max(*b)).collect();
        for part in [&mut self, &mut other] {
            let factors: Vec<f32> = part.max.iter().zip(&max).map(|(part, max)| (part - max).exp()).collect();
            part.sum.iter_mut().zip(&factors).for_each(|(sum, factor)| *sum *= factor);
            scale_rows(&mut part.gradient, &factors);
        }
        self.max = max;
        add(&mut self.sum, &other.sum);
        add(&mut self.gradient, &other.gradient);
        self.total.iter_mut().zip(&other.total).for_each(|(a, b)| *a += b);
        self.label.iter_mut().zip(&other.label).for_each(|(a, b)| *a = a.max(*b));
        self
    }
}

fn add(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}

/// Rows of a matrix, one to each factor, times that factor.
fn scale_rows(matrix: &mut [f32], factors: &[f32]) {
    let d = matrix.len() / factors.len().max(1);
    for (row, &factor) in matrix.chunks_exact_mut(d.max(1)).zip(factors) {
        if factor != 1.0 {
            row.iter_mut().for_each(|x| *x *= factor);
        }
    }
}
