use serde::{Deserialize, Serialize};
use tallow_data::{BatchOptions, BatchSize, Batches};
use tallow_ops::AdamW;
use tallow_t5::Checkpointing;

use crate::{Error, Result, Schedule};

/// How many tokens go into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of tokens, or \"auto\"")]
pub enum BatchTokens {
    /// At most so many.
    Tokens(usize),
    /// As many as the device has room for; see [`crate::largest_batch`].
    Auto(Auto),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// The word.
    Auto,
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingOptions {
    /// Optimiser steps; instead of `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Passes over the rows; instead of `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Rows to a batch; instead of `batch_tokens`. 8 if neither is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Source and target tokens to a batch, at most; instead of `batch_size`. `auto` is as many as the device has room
    /// for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<BatchTokens>,
    /// Sort the rows of so many batches by length before cutting them; 0 leaves them as shuffled.
    pub bucket_batches: usize,
    /// Batches to a step; their losses are weighted by their tokens, as one large batch's.
    pub accumulation: usize,
    /// The learning rate at its highest.
    pub learning_rate: f64,
    /// How it runs.
    pub schedule: Schedule,
    /// Steps over which it rises from 0.
    pub warmup_steps: usize,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// The gradient's norm is scaled down to this where it is greater; 0 leaves it.
    pub max_grad_norm: f64,
    /// The share of the target that is spread over the whole vocabulary.
    pub label_smoothing: f64,
    /// The probability that an activation is dropped; the model's own dropout_rate if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// What backward computes again, to need less memory.
    pub checkpointing: Checkpointing,
    /// Measure the validation loss every so many steps; 0 only at the end.
    pub evaluate_every: usize,
    /// Measure it over so many of the validation rows, the first; 0 is all.
    pub validation_rows: usize,
    /// Write a checkpoint every so many steps; 0 only when stopped.
    pub checkpoint_every: usize,
    /// Keep so many of the newest checkpoints.
    pub keep_checkpoints: usize,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: None,
            batch_size: None,
            batch_tokens: None,
            bucket_batches: 0,
            accumulation: 1,
            learning_rate: 1e-3,
            schedule: Schedule::default(),
            warmup_steps: 0,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            label_smoothing: 0.0,
            dropout: None,
            checkpointing: Checkpointing::None,
            evaluate_every: 0,
            validation_rows: 0,
            checkpoint_every: 0,
            keep_checkpoints: 2,
        }
    }
}

impl TrainingOptions {
    /// The optimiser's constants.
    pub fn adamw(&self) -> AdamW {
        AdamW { beta1: self.beta1, beta2: self.beta2, eps: self.epsilon, weight_decay: self.weight_decay }
    }

    /// How much goes into a batch; none until `auto` has been replaced by the number that was found.
    pub fn batch(&self) -> Option<BatchSize> {
        match (self.batch_size, self.batch_tokens) {
            (None, Some(BatchTokens::Tokens(tokens))) => Some(BatchSize::Tokens(tokens)),
            (None, Some(BatchTokens::Auto(_))) => None,
            (rows, _) => Some(BatchSize::Rows(rows.unwrap_or(8))),
        }
    }

    /// The number that `batch_tokens` stands at, if it is one.
    pub fn tokens(&self) -> Option<usize> {
        match self.batch_tokens {
            Some(BatchTokens::Tokens(tokens)) => Some(tokens),
            _ => None,
        }
    }

    /// The batches of rows of these (source, target) lengths.
    ///
    /// # Errors
    /// If there are no rows, or it has not been found how many tokens a batch takes.
    pub fn batches(&self, lengths: Vec<(usize, usize)>, seed: u64) -> Result<Batches> {
        let size = self.batch().ok_or(Error::BatchTokens)?;
        let options = BatchOptions { bucket_batches: self.bucket_batches, ..BatchOptions::training(size) };
        Ok(Batches::new(lengths, options, seed)?)
    }

    /// The number of optimiser steps over `batches`.
    pub fn total_steps(&self, batches: &Batches) -> usize {
        self.total_batches(batches).div_ceil(self.accumulation.max(1))
    }

    /// The number of batches in them: the last step of whole epochs may have fewer than the others.
    pub fn total_batches(&self, batches: &Batches) -> usize {
        match self.steps {
            Some(steps) => steps.saturating_mul(self.accumulation.max(1)),
            None => batches.steps(self.epochs.unwrap_or(1)),
        }
    }

    /// What is wrong with the values, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut problem = |wrong: bool, key: &'static str, what: &str| {
            if wrong {
                problems.push((key, what.to_owned()));
            }
        };
        problem(
            self.steps.is_some() && self.epochs.is_some(),
            "epochs",
            "steps is given too: keep one of them",
        );
        problem(self.steps.is_none() && self.epochs.is_none(), "steps", "neither steps nor epochs is given");
        problem(self.steps == Some(0), "steps", "must be at least 1");
        problem(self.epochs == Some(0), "epochs", "must be at least 1");
        let both = self.batch_size.is_some() && self.batch_tokens.is_some();
        problem(both, "batch_tokens", "batch_size is given too: keep one of them");
        problem(self.batch_size == Some(0), "batch_size", "must be at least 1");
        problem(self.batch_tokens == Some(BatchTokens::Tokens(0)), "batch_tokens", "must be at least 1");
        problem(self.accumulation == 0, "accumulation", "must be at least 1");
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let share = |x: f64| (0.0..1.0).contains(&x);
        problem(!positive(self.learning_rate), "learning_rate", "must be a positive number");
        problem(
            !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()),
            "weight_decay",
            "must not be negative",
        );
        problem(!share(self.beta1), "beta1", "must lie in [0, 1)");
        problem(!share(self.beta2), "beta2", "must lie in [0, 1)");
        problem(!positive(self.epsilon), "epsilon", "must be a positive number");
        let most = self.max_grad_norm;
        problem(most.is_nan() || most < 0.0, "max_grad_norm", "must not be negative; 0 leaves the gradient");
        problem(!share(self.label_smoothing), "label_smoothing", "must lie in [0, 1)");
        problem(!self.dropout.is_none_or(share), "dropout", "must lie in [0, 1)");
        problem(self.keep_checkpoints == 0, "keep_checkpoints", "must be at least 1");
        let warm = self.steps.is_some_and(|steps| self.warmup_steps >= steps);
        let what = format!(
            "{} of {} steps leave none after the warm-up: give fewer",
            self.warmup_steps,
            self.steps.unwrap_or_default()
        );
        problem(warm, "warmup_steps", &what);
        problems
    }
}
