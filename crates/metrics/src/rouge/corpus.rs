use super::score::Total;
use super::{References, Rouge, RougeType, Score};
use crate::Error;

/// The mean of ROUGE over the rows of a corpus, each row weighing the same.
///
/// This is the plain mean, the same on every run. Hugging Face's `evaluate` by default prints the median of the means
/// of 1,000 random resamples instead, which moves from run to run in the third or fourth digit; compare with its
/// `use_aggregator=False`.
#[derive(Debug, Clone)]
pub struct RougeCorpus {
    rouge: Rouge,
    references: References,
    totals: Vec<Total>,
    rows: usize,
}

impl RougeCorpus {
    /// An empty corpus, to be scored by `rouge` with several references a row taken as `references` says.
    pub fn new(rouge: Rouge, references: References) -> Self {
        let totals = vec![Total::default(); rouge.types.len()];
        Self { rouge, references, totals, rows: 0 }
    }

    /// Scores one prediction against its references and adds it to the mean.
    ///
    /// Gives the scores of this row, one for each type in the order of [`Rouge::types`].
    ///
    /// # Errors
    ///
    /// [`Error::NoReferences`] if `targets` is empty; the mean is then as it was.
    pub fn add<S: AsRef<str>>(&mut self, targets: &[S], prediction: &str) -> Result<Vec<Score>, Error> {
        let scores = self.rouge.score_multi(targets, prediction, self.references)?;
        for (total, &score) in self.totals.iter_mut().zip(&scores) {
            total.add(score);
        }
        self.rows += 1;
        Ok(scores)
    }

    /// How many predictions were added.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// For each type, the arithmetic mean of precision, of recall and of F1 over the rows; `None` of no rows.
    pub fn mean(&self) -> Option<Vec<(RougeType, Score)>> {
        let types = self.rouge.types.iter();
        types.zip(&self.totals).map(|(&kind, total)| Some((kind, total.mean()?))).collect()
    }
}
