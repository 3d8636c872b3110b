use std::path::Path;

use serde::Deserialize;

use super::{json_lines, text};
use crate::Result;

/// A step of metrics.jsonl.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub step: usize,
    pub epoch: usize,
    pub loss: f64,
    pub grad_norm: f64,
    pub learning_rate: f64,
    pub tokens: usize,
    pub seconds: f64,
    pub peak_memory: Option<u64>,
}

impl Step {
    pub(crate) fn tokens_per_second(&self) -> f64 {
        // A clock may stand still for a step that takes no time.
        self.tokens as f64 / self.seconds.max(1e-6)
    }
}

/// A validation of metrics.jsonl.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Validation {
    pub step: usize,
    #[serde(rename = "validation_loss")]
    pub loss: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Validation(Validation),
    Step(Step),
    /// A line that is neither, for a message that says so.
    Other(serde_json::Value),
}

/// What metrics.jsonl holds.
pub(crate) struct Log {
    pub steps: Vec<Step>,
    pub validations: Vec<Validation>,
}

impl Log {
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let Some(text) = text(path)? else { return Ok(None) };
        let (mut steps, mut validations) = (Vec::new(), Vec::new());
        for (index, line) in json_lines(path, &text)?.into_iter().enumerate() {
            match line {
                Line::Step(step) => steps.push(step),
                Line::Validation(validation) => validations.push(validation),
                Line::Other(value) => {
                    let what = format!("neither a step nor a validation: {value}");
                    return Err(crate::Error::broken(path, Some(index + 1), what));
                }
            }
        }
        Ok(Some(Self { steps, validations }))
    }

    /// The validation with the lowest loss, the first of equals.
    pub(crate) fn best(&self) -> Option<&Validation> {
        self.validations.iter().reduce(|best, next| if next.loss < best.loss { next } else { best })
    }

    /// The last step.
    pub(crate) fn last(&self) -> &Step {
        self.steps.last().expect("a run without steps is not read")
    }

    pub(crate) fn tokens(&self) -> usize {
        self.steps.iter().map(|step| step.tokens).sum()
    }

    /// What the steps took, without validations and checkpoints.
    pub(crate) fn seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }

    pub(crate) fn peak_memory(&self) -> Option<u64> {
        self.steps.iter().filter_map(|step| step.peak_memory).max()
    }
}
