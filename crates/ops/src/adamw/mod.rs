//! AdamW over the flat buffer.

mod composed;
mod cpu;

use candle_core::Tensor;

use crate::{Parameters, Result, trace};

/// The optimiser's constants. Loshchilov and Hutter 2019, as `torch.optim.AdamW` computes it: the decay is
/// decoupled from the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// The share of a parameter that is taken off a step, times the learning rate.
    pub weight_decay: f64,
}

/// One step's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The number of this step, from 1: what corrects the moments' bias.
    pub step: u64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Multiplies the gradients first: clipping.
    pub gradient_scale: f64,
}

/// A range of the buffer with one rate and decay.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first element.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Learning rate / correction of the first moment.
    pub rate: f64,
    /// What multiplies the parameter before the step: 1 - learning rate x decay.
    pub keep: f64,
}

/// The constants of one step, ready for the kernels.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The optimiser.
    pub adamw: AdamW,
    /// 1 / sqrt(correction of the second moment).
    pub second_scale: f64,
    /// Multiplies the gradients first.
    pub gradient_scale: f64,
}

/// The raw optimiser.
pub trait AdamWKernel {
    /// One step over `state` [p | m | v] (3 n), in place, from `gradients` (n), which it leaves zeroed.
    ///
    /// # Errors
    /// If the buffers cannot be written.
    fn adamw(&self, state: &Tensor, gradients: &Tensor, ranges: &[Range], step: Step) -> Result<()>;

    /// The sum of squares of a vector, in f64.
    ///
    /// # Errors
    /// If x cannot be read.
    fn sum_of_squares(&self, x: &Tensor) -> Result<f64>;
}

impl AdamW {
    /// Steps all `parameters` by `gradients`, and zeroes these.
    ///
    /// # Errors
    /// If the buffers cannot be written.
    pub fn step(
        &self,
        kernels: &dyn crate::Kernels,
        parameters: &Parameters,
        gradients: &Tensor,
        update: Update,
    ) -> Result<()> {
        let _span = trace::update("adamw");
        let power = |beta: f64| 1.0 - beta.powf(update.step as f64);
        let (first, second) = (power(self.beta1), power(self.beta2));
        let mut ranges: Vec<Range> = Vec::new();
        for entry in parameters.entries() {
            let rate = update.learning_rate * entry.rate;
            let decay = if entry.decay { self.weight_decay } else { 0.0 };
            let (start, end) = (entry.offset, entry.offset + entry.len());
            let range = Range { start, end, rate: rate / first, keep: 1.0 - rate * decay };
            match ranges.last_mut() {
                // The gap between two parameters holds zeros, which a step leaves alone.
                Some(last) if last.rate == range.rate && last.keep == range.keep => last.end = end,
                _ => ranges.push(range),
            }
        }
        let step =
            Step { adamw: *self, second_scale: 1.0 / second.sqrt(), gradient_scale: update.gradient_scale };
        kernels.adamw(parameters.state(), gradients, &ranges, step)
    }
}
