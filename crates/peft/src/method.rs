use serde::{Deserialize, Serialize};

use crate::TargetModules;

/// How a model is fine-tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Method {
    /// Low-rank updates of frozen weights. Hu et al. 2021.
    Lora(LoraOptions),
    /// Every weight.
    Full(FullOptions),
}

impl Default for Method {
    fn default() -> Self {
        Self::Lora(LoraOptions::default())
    }
}

impl Method {
    /// What is wrong with the options, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Lora(lora) => lora.problems(),
            Self::Full(FullOptions {}) => Vec::new(),
        }
    }

    /// Whether what is trained is kept apart from the base, as an adapter.
    pub fn has_adapter(&self) -> bool {
        matches!(self, Self::Lora(_))
    }
}

/// LoRA's settings, by peft's names where peft has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraOptions {
    /// The rank of an update, peft's `r`.
    pub rank: usize,
    /// The update is scaled by alpha / rank; peft's `lora_alpha`.
    pub alpha: f64,
    /// The probability that an element of an update's input is dropped in training; peft's `lora_dropout`.
    pub dropout: f64,
    /// The layers that are adapted.
    pub target_modules: TargetModules,
    /// Scale by alpha / sqrt(rank) instead. Kalajdzievski 2023.
    pub use_rslora: bool,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::default(),
            use_rslora: false,
        }
    }
}

impl LoraOptions {
    /// What multiplies B A.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.rank == 0 {
            problems.push(("rank", "must be at least 1".to_owned()));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            problems.push(("alpha", "must be a positive number".to_owned()));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(("dropout", "must lie in [0, 1)".to_owned()));
        }
        problems.extend(self.target_modules.problem().map(|problem| ("target_modules", problem)));
        problems
    }
}

/// Full fine-tuning has no settings of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullOptions {}
