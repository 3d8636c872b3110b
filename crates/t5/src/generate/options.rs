use candle_transformers::generation::{LogitsProcessor, Sampling};
use serde::{Deserialize, Serialize};

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
        let Some(sampling) = &self.sampling else { return problems };
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
