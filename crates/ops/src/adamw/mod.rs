//! AdamW over the flat buffer.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

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
    /// Multiplies the gradients first: 1 / tokens makes a sum a mean.
    pub gradient_scale: f64,
    /// The most that the norm of the scaled gradients may be: longer ones are shortened, as torch's
    /// `clip_grad_norm_` does. 0 for any length.
    pub max_grad_norm: f64,
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
    /// The most that the norm of the scaled gradients may be; 0 for any.
    pub max_grad_norm: f64,
}

impl Step {
    /// What multiplies the gradients, from the sum of their squares; none if that is not finite.
    pub fn factor(&self, squares: f64) -> Option<f64> {
        if !squares.is_finite() {
            return None;
        }
        let norm = squares.sqrt() * self.gradient_scale;
        // torch's clip_grad_norm_ adds this epsilon.
        let clip = if self.max_grad_norm > 0.0 { (self.max_grad_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        Some(clip * self.gradient_scale)
    }
}

/// What one step reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Buffers<'a> {
    /// [p | m | v] (3 n), f32.
    pub state: &'a Tensor,
    /// (n), f32.
    pub gradients: &'a Tensor,
    /// The sum of squares of the gradients, as [`AdamWKernel::sum_of_squares`] gives it.
    pub squares: &'a Tensor,
    /// The parameters as the model reads them (n), where that is not p itself.
    pub compute: Option<&'a Tensor>,
}

/// The raw optimiser.
pub trait AdamWKernel {
    /// One step over p, m and v in place, which leaves the gradients zeroed and the compute copy up to date. Where
    /// the sum of squares is not finite, nothing but the gradients changes.
    ///
    /// # Errors
    /// If the buffers cannot be written.
    fn adamw(&self, buffers: Buffers, ranges: &[Range], step: Step) -> Result<()>;

    /// The sum of squares of an f32 vector, one number on the device; it is not finite if one of them is not.
    ///
    /// # Errors
    /// If x cannot be read.
    fn sum_of_squares(&self, x: &Tensor) -> Result<Tensor>;
}

impl AdamW {
    /// Steps all `parameters` by `gradients`, and zeroes these; gives the sum of their squares, unscaled. Nothing
    /// is read back from the device; a step whose gradients are not finite leaves the parameters as they are.
    ///
    /// # Errors
    /// If the buffers cannot be written.
    pub fn step(
        &self,
        kernels: &dyn crate::Kernels,
        parameters: &Parameters,
        gradients: &Tensor,
        update: Update,
    ) -> Result<Tensor> {
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
        let Update { gradient_scale, max_grad_norm, .. } = update;
        let step = Step { adamw: *self, second_scale: 1.0 / second.sqrt(), gradient_scale, max_grad_norm };
        let squares = kernels.sum_of_squares(gradients)?;
        let (state, compute) = (parameters.state(), parameters.compute_copy());
        kernels.adamw(Buffers { state, gradients, squares: &squares, compute }, &ranges, step)?;
        Ok(squares)
    }
}
