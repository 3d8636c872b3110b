//! ROUGE (Lin 2004), to the last bit as `rouge_score` 0.1.2 computes it.

mod corpus;
mod kind;
mod lcs;
mod ngram;
mod overlap;
mod references;
mod score;
mod summary;
mod text;
mod tokenize;

pub use corpus::RougeCorpus;
pub use kind::RougeType;
pub use overlap::{nearest, overlap};
pub use references::References;
pub use score::Score;
pub use tokenize::tokenize;

use crate::Error;
use text::{Text, Vocabulary};

/// What to compute: which measures, over words or over their stems.
///
/// Every score list of this crate has one [`Score`] for each of `types`, in that order. Published figures are often
/// with the stemmer, which raises them; the default of `rouge_score` is without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rouge {
    /// The measures, in the order in which scores are given.
    pub types: Vec<RougeType>,
    /// Whether words of four letters and more are compared by their [Porter stems](crate::porter::stem).
    pub stemmer: bool,
}

impl Rouge {
    /// Scores a prediction against one reference, `target`; recall divides by the target, precision by the
    /// prediction. All zeros where either has no token.
    ///
    /// [`RougeType::Lsum`] expects one sentence a line in both texts.
    pub fn score(&self, target: &str, prediction: &str) -> Vec<Score> {
        let mut vocabulary = Vocabulary::default();
        let prediction = vocabulary.text(prediction, self.stemmer);
        let target = vocabulary.text(target, self.stemmer);
        self.types.iter().map(|&kind| score(kind, &target, &prediction)).collect()
    }

    /// Scores a prediction against several references, taken together as `references` says.
    ///
    /// # Errors
    ///
    /// [`Error::NoReferences`] if `targets` is empty.
    ///
    /// ```
    /// use tallow_metrics::{References, Rouge, RougeType};
    ///
    /// let rouge = Rouge { types: vec![RougeType::ROUGE_1], stemmer: false };
    /// let targets = ["red apples", "four green pears"];
    /// assert_eq!(rouge.score_multi(&targets, "red pears", References::Best)?[0].fmeasure, 0.5);
    /// assert_eq!(rouge.score_multi(&targets, "red pears", References::Mean)?[0].fmeasure, 0.45);
    /// # Ok::<(), tallow_metrics::Error>(())
    /// ```
    pub fn score_multi<S: AsRef<str>>(
        &self,
        targets: &[S],
        prediction: &str,
        references: References,
    ) -> Result<Vec<Score>, Error> {
        let mut vocabulary = Vocabulary::default();
        let prediction = vocabulary.text(prediction, self.stemmer);
        let targets: Vec<Text> =
            targets.iter().map(|target| vocabulary.text(target.as_ref(), self.stemmer)).collect();
        self.types
            .iter()
            .map(|&kind| {
                let scores = targets.iter().map(|target| score(kind, target, &prediction));
                references.combine(scores).ok_or(Error::NoReferences)
            })
            .collect()
    }
}

fn score(kind: RougeType, target: &Text, prediction: &Text) -> Score {
    match kind {
        RougeType::N(n) => ngram::score(&target.tokens, &prediction.tokens, n.get()),
        RougeType::L => lcs::score(&target.tokens, &prediction.tokens),
        RougeType::Lsum => summary::score(&target.lines, &prediction.lines),
    }
}
