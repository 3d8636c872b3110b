use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::TargetModules;
use crate::target::Patterns;

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
    /// Of these, layers that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<TargetModules>,
    /// The numbers of the blocks that are adapted, in encoder and decoder; all if empty. peft's `layers_to_transform`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
    /// The part of a name that the number stands behind.
    #[serde(skip_serializing_if = "is_block")]
    pub layers_pattern: String,
    /// Ranks of layers whose name ends in a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of layers whose name ends in a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Modules that are trained as a whole, and kept in the adapter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,
    /// Tokens whose rows of the embedding are trained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trainable_token_indices: Vec<u32>,
    /// Scale by alpha / sqrt(rank) instead. Kalajdzievski 2023.
    pub use_rslora: bool,
    /// What A and B hold before the first step.
    #[serde(skip_serializing_if = "LoraStart::is_default")]
    pub init_lora_weights: LoraStart,
    /// B learns so many times as fast as A. LoRA+, Hayou et al. 2024.
    #[serde(skip_serializing_if = "is_one")]
    pub loraplus_lr_ratio: f64,
}

fn is_one(ratio: &f64) -> bool {
    *ratio == 1.0
}

fn is_block(pattern: &str) -> bool {
    pattern == "block"
}

/// What A and B hold before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoraStart {
    /// A uniform in +-1/sqrt(in), as peft's kaiming_uniform with a = sqrt(5) has it; B zero.
    #[default]
    Kaiming,
    /// A normal with deviation 1/rank; B zero.
    Gaussian,
    /// The weight's largest singular values, taken out of it.
    Pissa,
    /// The first columns of the weight's QR, taken out of it.
    Olora,
}

impl LoraStart {
    fn is_default(&self) -> bool {
        *self == Self::Kaiming
    }

    /// Whether the update starts as a part of the weight.
    pub fn takes_from_the_weight(self) -> bool {
        matches!(self, Self::Pissa | Self::Olora)
    }
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::default(),
            exclude_modules: None,
            layers: Vec::new(),
            layers_pattern: "block".to_owned(),
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            modules_to_save: Vec::new(),
            trainable_token_indices: Vec::new(),
            use_rslora: false,
            init_lora_weights: LoraStart::Kaiming,
            loraplus_lr_ratio: 1.0,
        }
    }
}

impl LoraOptions {
    /// What multiplies B A, where no pattern says otherwise.
    pub fn scale(&self) -> f64 {
        self.scale_of(self.rank, self.alpha)
    }

    fn scale_of(&self, rank: usize, alpha: f64) -> f64 {
        let rank = rank as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// The rank and the scale of a layer.
    ///
    /// # Errors
    /// If a pattern is not a regular expression.
    pub fn rank_and_scale(&self, layer: &str) -> crate::Result<(usize, f64)> {
        let rank = self.rank_pattern.of(layer)?.copied().unwrap_or(self.rank);
        let alpha = self.alpha_pattern.of(layer)?.copied().unwrap_or(self.alpha);
        Ok((rank, self.scale_of(rank, alpha)))
    }

    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut put = |wrong: bool, key: &'static str, what: &str| {
            if wrong {
                problems.push((key, what.to_owned()));
            }
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        put(self.rank == 0, "rank", "must be at least 1");
        let widest = "must be at most 16384, more than the sides of any layer of T5";
        put(self.rank > 16_384, "rank", widest);
        put(!positive(self.alpha), "alpha", "must be a positive number");
        put(!(0.0..1.0).contains(&self.dropout), "dropout", "must lie in [0, 1)");
        put(self.rank_pattern.values().any(|&rank| rank == 0), "rank_pattern", "has a rank of 0");
        let alphas = self.alpha_pattern.values();
        put(alphas.copied().any(|x| !positive(x)), "alpha_pattern", "has an alpha that is not positive");
        put(!positive(self.loraplus_lr_ratio), "loraplus_lr_ratio", "must be a positive number");
        let empty = self.modules_to_save.iter().any(String::is_empty);
        put(empty, "modules_to_save", "has an empty name");
        let mut tokens = self.trainable_token_indices.clone();
        tokens.sort_unstable();
        tokens.dedup();
        let repeated = tokens.len() < self.trainable_token_indices.len();
        put(repeated, "trainable_token_indices", "names a token twice");
        let none = |map: &BTreeMap<String, usize>| map.wrong();
        problems.extend(none(&self.rank_pattern).map(|what| ("rank_pattern", what)));
        problems.extend(self.alpha_pattern.wrong().map(|what| ("alpha_pattern", what)));
        problems.extend(self.target_modules.problem().map(|problem| ("target_modules", problem)));
        let excluded = self.exclude_modules.as_ref().and_then(TargetModules::problem);
        problems.extend(excluded.map(|problem| ("exclude_modules", problem)));
        problems
    }
}
