use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tallow_metrics::{References, RougeType, Score};

use super::{json_lines, text};
use crate::Result;

/// What evaluation.json holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Evaluations {
    pub before: Option<Evaluation>,
    pub after_same_rows: Option<Evaluation>,
    pub after: Option<Evaluation>,
}

impl Evaluations {
    /// After training, on the rows of [`Self::before`]; on all, if nothing was measured before.
    pub(crate) fn after_comparable(&self) -> Option<&Evaluation> {
        self.after_same_rows.as_ref().or(self.after.as_ref())
    }
}

/// ROUGE over some rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    pub rows: usize,
    pub rouge: BTreeMap<RougeType, Score>,
    pub stemmer: bool,
    pub references: References,
}

/// A line of predictions.jsonl.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Prediction {
    pub row: String,
    pub prompt: String,
    pub prediction: String,
    pub references: Vec<String>,
}

/// The predictions of a file, none if it is not there.
pub(super) fn predictions(path: &Path) -> Result<Vec<Prediction>> {
    match text(path)? {
        Some(text) => json_lines(path, &text),
        None => Ok(Vec::new()),
    }
}
