use tallow_ops::{Tape, Traced, add, add_rms_norm, dropout, rms_norm};

use crate::{OutputAdapter, Result, Weight};

/// The residual stream: what has been summed, and the last sublayer's output, which the next norm adds to it on
/// its way.
pub(crate) struct Residual {
    sum: Traced,
    pending: Option<Pending>,
    /// The probability that an element of a sublayer's output is dropped in training.
    dropout: f64,
}

/// What is still to be added, and the probability that an element of it is dropped.
struct Pending {
    value: Traced,
    dropout: f64,
}

impl Residual {
    pub fn new(x: Traced, dropout: f64) -> Self {
        Self { sum: x, pending: None, dropout }
    }

    /// A sublayer's output (n, d_model), to be added, and what is hooked behind the sublayer. The stream has been
    /// normalised since the last one.
    pub fn add(&mut self, tape: &Tape, output: Traced, after: Option<&dyn OutputAdapter>) -> Result<()> {
        debug_assert!(self.pending.is_none(), "a norm comes between two sublayers");
        let Some(adapter) = after else {
            self.pending = Some(Pending { value: output, dropout: self.dropout });
            return Ok(());
        };
        let output = dropout(tape, &output, self.dropout)?;
        self.sum = add(tape, &self.sum, &output)?;
        // What it adds is not dropped again.
        let value = adapter.forward(tape, &output, &self.sum)?;
        self.pending = Some(Pending { value, dropout: 0.0 });
        Ok(())
    }

    /// The stream, normalised: (n, d_model).
    pub fn norm(&mut self, tape: &Tape, weight: &Weight, epsilon: f64) -> Result<Traced> {
        let Some(Pending { value, dropout }) = self.pending.take() else {
            return Ok(rms_norm(tape, &self.sum, &weight.value, epsilon)?);
        };
        let [sum, normed] = add_rms_norm(tape, &self.sum, &value, dropout, &weight.value, epsilon)?;
        self.sum = sum;
        Ok(normed)
    }

    /// The sum (n, d_model), with nothing left to add.
    pub fn sum(self, tape: &Tape) -> Result<Traced> {
        match self.pending {
            None => Ok(self.sum),
            Some(Pending { value, dropout: p }) => Ok(add(tape, &self.sum, &dropout(tape, &value, p)?)?),
        }
    }
}
