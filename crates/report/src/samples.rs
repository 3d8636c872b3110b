//! A few of the rows that text was generated for.

use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;
use tallow_metrics::rouge::{nearest, overlap};
use tallow_metrics::{References, Rouge, RougeType};

use crate::Run;
use crate::run::Prediction;

/// So many rows are shown.
const MOST: usize = 8;

/// A row, and what was written for it.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub row: String,
    pub prompt: String,
    pub references: Vec<String>,
    pub before: Option<Output>,
    pub after: Output,
}

/// A text that a model wrote.
#[derive(Debug, Serialize)]
pub(crate) struct Output {
    pub text: String,
    /// The F1 of ROUGE-1, as the run's own figures are computed.
    pub rouge1: f64,
    /// The reference that `overlap` is of, if there is any.
    pub reference: Option<usize>,
    /// Where the words lie, in bytes, that count for ROUGE-1.
    pub overlap: Vec<Range<usize>>,
}

/// Rows from the one with the highest ROUGE-1 to the one with the lowest, evenly over the ranks between: of those that
/// were written for before training as well, if there are any. The second value is how many they were drawn from.
pub(crate) fn samples(run: &Run) -> (Vec<Sample>, usize) {
    let (stemmer, references) = match &run.evaluations.after {
        Some(evaluation) => (evaluation.stemmer, evaluation.references),
        None => (true, References::Best),
    };
    let output = |prediction: &Prediction| output(prediction, stemmer, references);
    let before: HashMap<&str, &Prediction> =
        run.before.iter().map(|prediction| (prediction.row.as_str(), prediction)).collect();
    let known = |prediction: &&Prediction| before.is_empty() || before.contains_key(prediction.row.as_str());
    let mut rows: Vec<(&Prediction, Output)> =
        run.after.iter().filter(known).map(|prediction| (prediction, output(prediction))).collect();
    rows.sort_by(|a, b| b.1.rouge1.total_cmp(&a.1.rouge1));
    let (from, count) = (rows.len(), rows.len().min(MOST));
    // The first, the last, and those between at equal distances.
    let wanted: Vec<usize> = (0..count).map(|i| i * (from - 1) / (count - 1).max(1)).collect();
    let mut ranks = 0..;
    rows.retain(|_| ranks.next().is_some_and(|rank| wanted.contains(&rank)));
    let sample = |(prediction, after): (&Prediction, Output)| Sample {
        row: prediction.row.clone(),
        prompt: prediction.prompt.clone(),
        references: prediction.references.clone(),
        before: before.get(prediction.row.as_str()).map(|prediction| output(prediction)),
        after,
    };
    (rows.into_iter().map(sample).collect(), from)
}

fn output(prediction: &Prediction, stemmer: bool, references: References) -> Output {
    let text = prediction.prediction.clone();
    let reference = nearest(&prediction.references, &text, stemmer);
    let rouge = Rouge { types: vec![RougeType::ROUGE_1], stemmer };
    let scores = rouge.score_multi(&prediction.references, &text, references);
    Output {
        rouge1: scores.map_or(0.0, |scores| scores[0].fmeasure),
        overlap: reference.map_or_else(Vec::new, |at| overlap(&prediction.references[at], &text, stemmer)),
        reference,
        text,
    }
}
