use serde::{Deserialize, Serialize};

/// Precision, recall and F1, each in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Score {
    /// What part of the prediction is in the reference.
    pub precision: f64,
    /// What part of the reference is in the prediction.
    pub recall: f64,
    /// The harmonic mean of precision and recall, 0 where both are 0.
    ///
    /// Of a [mean](Self::mean) it is the mean of the F1s, not the F1 of the means.
    pub fmeasure: f64,
}

impl Score {
    /// The score of `hits` units in common, of `predicted` in the prediction and `expected` in the reference.
    pub(super) fn of_counts(hits: usize, predicted: usize, expected: usize) -> Self {
        let precision = hits as f64 / predicted.max(1) as f64;
        let recall = hits as f64 / expected.max(1) as f64;
        let sum = precision + recall;
        // In this order of operations, for the last bit depends on it.
        let fmeasure = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        Self { precision, recall, fmeasure }
    }

    /// The arithmetic mean of each of the three figures, summed in the order given; `None` of no scores.
    pub fn mean(scores: impl IntoIterator<Item = Score>) -> Option<Self> {
        let mut total = Total::default();
        scores.into_iter().for_each(|score| total.add(score));
        total.mean()
    }
}

/// A running sum of scores.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    sum: Score,
    count: usize,
}

impl Total {
    pub(super) fn add(&mut self, score: Score) {
        self.sum.precision += score.precision;
        self.sum.recall += score.recall;
        self.sum.fmeasure += score.fmeasure;
        self.count += 1;
    }

    pub(super) fn mean(&self) -> Option<Score> {
        let count = self.count as f64;
        (self.count > 0).then(|| Score {
            precision: self.sum.precision / count,
            recall: self.sum.recall / count,
            fmeasure: self.sum.fmeasure / count,
        })
    }
}
