use std::fmt;

use serde::{Deserialize, Serialize};

use super::Score;

/// What becomes of several references for one prediction.
///
/// Published figures follow either protocol, often without saying which, and the difference is large: the references
/// of a row differ among themselves, and the best of three is well above the average one. A figure says little
/// unless its protocol stands beside it, so there is no default. Read and written as `best` and `mean`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum References {
    /// Per type, the score against the reference with the highest F1, the first of equals; `score_multi` of
    /// `rouge_score`. Precision and recall are those against that same reference.
    Best,
    /// Per type, the mean over the references of precision, of recall and of F1. Where every row has the same number
    /// of references, the corpus figure is that of a file with one row for each reference.
    Mean,
}

impl References {
    /// One score from those against each reference; `None` of none.
    pub fn combine(self, scores: impl IntoIterator<Item = Score>) -> Option<Score> {
        match self {
            Self::Best => scores
                .into_iter()
                .reduce(|best, score| if score.fmeasure > best.fmeasure { score } else { best }),
            Self::Mean => Score::mean(scores),
        }
    }
}

impl fmt::Display for References {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Best => "best",
            Self::Mean => "mean",
        })
    }
}
