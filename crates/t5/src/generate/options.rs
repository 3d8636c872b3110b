use std::str::FromStr;

use candle_transformers::generation::{LogitsProcessor, Sampling};
use serde::{Deserialize, Serialize};

/// More beams than anyone wants.
const MOST_BEAMS: usize = 256;

/// How text is generated. The defaults are greedy and unconstrained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationOptions {
    /// At most so many tokens, the end token not counted.
    pub max_new_tokens: usize,
    /// No end token before so many.
    pub min_new_tokens: usize,
    /// No n-gram of this size occurs twice; 0 allows all.
    pub no_repeat_ngram_size: usize,
    /// Divides the positive logits of tokens that occurred, and multiplies their negative ones. Keskar et al.
    /// 2019. 1 changes nothing.
    pub repetition_penalty: f32,
    /// Sequences that are followed at a time; 1 takes the most likely token each time.
    pub num_beams: usize,
    /// Of beam search: a finished sequence's log-probability is divided by its length to this power. More than 0 favours
    /// long ones.
    pub length_penalty: f64,
    /// When beam search has enough.
    pub early_stopping: EarlyStopping,
    /// Draw tokens at random; without, the most likely is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingOptions>,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            min_new_tokens: 0,
            no_repeat_ngram_size: 0,
            repetition_penalty: 1.0,
            num_beams: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::No,
            sampling: None,
        }
    }
}

impl GenerationOptions {
    /// Whether the most likely token is taken as the model has it.
    pub(crate) fn is_plain(&self) -> bool {
        self.min_new_tokens == 0
            && self.no_repeat_ngram_size == 0
            && self.repetition_penalty == 1.0
            && self.num_beams == 1
            && self.sampling.is_none()
    }

    /// What is wrong with the values, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.max_new_tokens == 0 {
            problems.push(("max_new_tokens", "must be at least 1".to_owned()));
        }
        if self.min_new_tokens > self.max_new_tokens {
            let most = self.max_new_tokens;
            problems.push((
                "min_new_tokens",
                format!("{} is more than max_new_tokens, {most}", self.min_new_tokens),
            ));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            problems.push(("repetition_penalty", "must be a positive number; 1 changes nothing".to_owned()));
        }
        if !(1..=MOST_BEAMS).contains(&self.num_beams) {
            problems.push(("num_beams", format!("must lie between 1 and {MOST_BEAMS}")));
        }
        if !self.length_penalty.is_finite() {
            problems.push(("length_penalty", "must be a number; 0 leaves the length out".to_owned()));
        }
        let Some(sampling) = &self.sampling else { return problems };
        if self.num_beams > 1 {
            problems.push(("num_beams", "sampling is given too: keep one of them".to_owned()));
        }
        if !(sampling.temperature > 0.0 && sampling.temperature.is_finite()) {
            problems.push(("sampling.temperature", "must be a positive number".to_owned()));
        }
        if sampling.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            problems.push(("sampling.top_p", "must lie in (0, 1]".to_owned()));
        }
        if sampling.top_k == Some(0) {
            problems.push(("sampling.top_k", "must be at least 1".to_owned()));
        }
        problems
    }
}

/// When beam search stops with a row that has as many finished sequences as beams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum EarlyStopping {
    /// `true`: at once.
    Yes,
    /// `false`: when the best that goes on, as long as it is now, is no better than the worst that is finished.
    No,
    /// `"never"`: when it could not be better at the greatest length either.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"never\"")]
enum Written {
    Bool(bool),
    Word(String),
}

impl TryFrom<Written> for EarlyStopping {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Bool(given) => given.to_string().parse(),
            Written::Word(word) => word.parse(),
        }
    }
}

impl FromStr for EarlyStopping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::Yes),
            "false" => Ok(Self::No),
            "never" => Ok(Self::Never),
            _ => Err(format!("`{text}` is not true, false or \"never\"")),
        }
    }
}

impl From<EarlyStopping> for Written {
    fn from(stopping: EarlyStopping) -> Self {
        match stopping {
            EarlyStopping::Yes => Self::Bool(true),
            EarlyStopping::No => Self::Bool(false),
            EarlyStopping::Never => Self::Word("never".to_owned()),
        }
    }
}

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Divides the logits.
    pub temperature: f64,
    /// Draws among the most likely so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Draws among the most likely that together have this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The same seed draws the same text.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, seed: 0 }
    }
}

impl SamplingOptions {
    /// The sampler of one row; rows draw independently of their batch.
    pub(crate) fn processor(&self, row: usize) -> LogitsProcessor {
        let temperature = self.temperature;
        let sampling = match (self.top_k, self.top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        // Spread by an odd multiplier: seed + row would draw for row 1 what the next seed draws for row 0.
        let spread = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        LogitsProcessor::from_sampling(self.seed ^ spread, sampling)
    }
}
