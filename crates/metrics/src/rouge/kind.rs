use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Which ROUGE.
///
/// Written and read, by serde too, as the names of `rouge_score`: `rouge1`, `rouge2` and so on, `rougeL`, `rougeLsum`.
/// Reading is exact in case. `rouge_score` stops at `rouge9`; here any number from 1 will do.
///
/// ```
/// use tallow_metrics::RougeType;
///
/// assert_eq!("rouge2".parse(), Ok(RougeType::ROUGE_2));
/// assert_eq!(RougeType::Lsum.to_string(), "rougeLsum");
/// assert!("rouge0".parse::<RougeType>().unwrap_err().to_string().contains("`rouge0`"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RougeType {
    /// ROUGE-N: n-grams in common, each counted at most as often as the reference has it.
    N(NonZeroUsize),
    /// ROUGE-L: the longest common subsequence of the whole texts; a newline is a separator like any other.
    L,
    /// ROUGE-Lsum, of summaries: per line of the reference, the union of its longest common subsequences with every
    /// line of the prediction.
    ///
    /// Expects one sentence a line, in the prediction as in the reference; it does not split sentences. Without
    /// newlines it equals [`L`](Self::L), so a figure can be compared only with figures over texts split alike.
    Lsum,
}

impl RougeType {
    /// Single words.
    pub const ROUGE_1: Self = Self::N(NonZeroUsize::MIN);
    /// Pairs of words.
    pub const ROUGE_2: Self = Self::N(NonZeroUsize::MIN.saturating_add(1));
}

impl fmt::Display for RougeType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::N(n) => formatter.pad(&format!("rouge{n}")),
            Self::L => formatter.pad("rougeL"),
            Self::Lsum => formatter.pad("rougeLsum"),
        }
    }
}

impl FromStr for RougeType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownRougeType(name.to_owned());
        match name.strip_prefix("rouge").ok_or_else(unknown)? {
            "L" => Ok(Self::L),
            "Lsum" => Ok(Self::Lsum),
            // Numbers parse with a sign and with leading zeros, which would make two names of one type.
            n if n.starts_with(|digit| matches!(digit, '1'..='9')) => {
                n.parse().map(Self::N).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for RougeType {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<RougeType> for String {
    fn from(rouge_type: RougeType) -> Self {
        rouge_type.to_string()
    }
}
