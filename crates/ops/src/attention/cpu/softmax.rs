use crate::Mask;
use crate::cpu::simd;

/// Rows of scores are whole multiples of so many values: loops over them have no rest, which would run scalar.
pub(super) const LANES: usize = 16;
pub(super) type Lanes = [f32; LANES];

/// What one query's scores are read with.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// The keys that it sees, the first ones.
    pub visible: usize,
    /// The bias of each key, for all of the row.
    pub bias: Option<&'a [Lanes]>,
    /// What is dropped of its probabilities.
    pub mask: Option<Mask>,
}

impl Row<'_> {
    /// Scores to drop(e^(score + bias - max)), in place; returns the sum before dropping, and the max.
    #[inline(always)]
    pub fn exponentials(&self, row: &mut [Lanes]) -> (f32, f32) {
        self.hide(row, f32::NEG_INFINITY);
        let mut most = [f32::NEG_INFINITY; LANES];
        match self.bias {
            Some(bias) => {
                for (scores, bias) in row.iter_mut().zip(bias) {
                    let sums = lanes(|i| scores[i] + bias[i]);
                    most = lanes(|i| if sums[i] > most[i] { sums[i] } else { most[i] });
                    *scores = sums;
                }
            }
            None => {
                for scores in row.iter() {
                    most = lanes(|i| if scores[i] > most[i] { scores[i] } else { most[i] });
                }
            }
        }
        let max = most.into_iter().fold(f32::NEG_INFINITY, |max, x| if x > max { x } else { max });
        let mut sums = [0.0; LANES];
        for scores in row.iter_mut() {
            let powers = lanes(|i| simd::exp(scores[i] - max));
            sums = lanes(|i| sums[i] + powers[i]);
            *scores = powers;
        }
        self.hide(row, 0.0);
        self.drop(row);
        (sums.iter().sum(), max)
    }

    /// Scores to drop(P), and the gradient of drop(P) to dS = P (dP - sum(P dP)), both in place.
    #[inline(always)]
    pub fn slopes(&self, log_sum_exp: f32, p: &mut [Lanes], dp: &mut [Lanes]) {
        self.hide(p, f32::NEG_INFINITY);
        self.hide(dp, 0.0);
        self.drop(dp);
        let mut sums = [0.0; LANES];
        match self.bias {
            Some(bias) => {
                for ((p, dp), bias) in p.iter_mut().zip(dp.iter()).zip(bias) {
                    let powers = lanes(|i| simd::exp(p[i] + bias[i] - log_sum_exp));
                    sums = lanes(|i| powers[i].mul_add(dp[i], sums[i]));
                    *p = powers;
                }
            }
            None => {
                for (p, dp) in p.iter_mut().zip(dp.iter()) {
                    let powers = lanes(|i| simd::exp(p[i] - log_sum_exp));
                    sums = lanes(|i| powers[i].mul_add(dp[i], sums[i]));
                    *p = powers;
                }
            }
        }
        let mean: f32 = sums.iter().sum();
        // Value by value: by vectors, the compiler would take values of sixteen vectors together.
        for (p, dp) in p.as_flattened().iter().zip(dp.as_flattened_mut()) {
            *dp = p * (*dp - mean);
        }
        self.hide(p, 0.0);
        self.hide(dp, 0.0);
        self.drop(p);
    }

    /// Puts `value` behind the visible keys.
    #[inline(always)]
    fn hide(&self, row: &mut [Lanes], value: f32) {
        for x in &mut row.as_flattened_mut()[self.visible..] {
            *x = value;
        }
    }

    #[inline(always)]
    fn drop(&self, row: &mut [Lanes]) {
        let Some(mask) = self.mask else { return };
        for (scores, first) in row.iter_mut().zip((0u32..).step_by(LANES)) {
            *scores = lanes(|i| scores[i] * mask.factor(first + i as u32));
        }
    }
}

/// A vector of f(0), f(1), ..: one loop, and nothing else in it, so that it becomes vector instructions.
#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> Lanes {
    let mut values = [0.0; LANES];
    for (i, value) in values.iter_mut().enumerate() {
        *value = f(i);
    }
    values
}
