use tallow_ops::{Tape, Traced, add, add_rms_norm, dropout, rms_norm};

use crate::{Result, Weight};

/// The residual stream: what has been summed, and the last sublayer's output, which the next norm adds to it on
/// its way.
pub(crate) struct Residual {
    sum: Traced,
    pending: Option<Traced>,
    /// The probability that an element of a sublayer's output is dropped in training.
    dropout: f64,
}

impl Residual {
    pub fn new(x: Traced, dropout: f64) -> Self {
        Self { sum: x, pending: None, dropout }
    }

    /// A sublayer's output (n, d_model), to be added. The stream has been normalised since the last one.
    pub fn add(&mut self, output: Traced) {
        debug_assert!(self.pending.is_none(), "a norm comes between two sublayers");
        self.pending = Some(output);
    }

    /// The stream, normalised: (n, d_model).
    pub fn norm(&mut self, tape: &Tape, weight: &Weight, epsilon: f64) -> Result<Traced> {
        let Some(output) = self.pending.take() else {
            return Ok(rms_norm(tape, &self.sum, &weight.value, epsilon)?);
        };
        let [sum, normed] = add_rms_norm(tape, &self.sum, &output, self.dropout, &weight.value, epsilon)?;
        self.sum = sum;
        Ok(normed)
    }

    /// The sum (n, d_model), with nothing left to add.
    pub fn sum(self, tape: &Tape) -> Result<Traced> {
        match self.pending {
            None => Ok(self.sum),
            Some(output) => Ok(add(tape, &self.sum, &dropout(tape, &output, self.dropout)?)?),
        }
    }
}
