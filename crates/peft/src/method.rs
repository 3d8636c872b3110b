use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::{
    BottleneckOptions, DoraOptions, FullOptions, Ia3Options, LoraOptions, PrefixOptions, PromptOptions,
    SelectiveOptions,
};

/// How a model is fine-tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Method {
    /// Low-rank updates of frozen weights. Hu et al. 2021.
    Lora(LoraOptions),
    /// Low-rank updates of weights' directions, and their lengths. Liu et al. 2024.
    Dora(DoraOptions),
    /// Factors of keys, values and inner activations. Liu et al. 2022.
    Ia3(Ia3Options),
    /// Virtual tokens before every source. Lester et al. 2021.
    Prompt(PromptOptions),
    /// Keys and values before those of every row. Li and Liang 2021.
    Prefix(PrefixOptions),
    /// Bottleneck adapters behind sublayers. Houlsby et al. 2019.
    Bottleneck(BottleneckOptions),
    /// Some of the base's weights, and added biases.
    Selective(SelectiveOptions),
    /// Every weight.
    Full(FullOptions),
}

impl Default for Method {
    fn default() -> Self {
        Self::Lora(LoraOptions::default())
    }
}

impl Method {
    /// What the method has to say of itself: the one branch by method.
    pub(crate) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Lora(options) => options,
            Self::Dora(options) => options,
            Self::Ia3(options) => options,
            Self::Prompt(options) => options,
            Self::Prefix(options) => options,
            Self::Bottleneck(options) => options,
            Self::Selective(options) => options,
            Self::Full(options) => options,
        }
    }

    /// What is wrong with the options, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        self.kind().problems()
    }

    /// Whether what is trained is kept apart from the base, as an adapter.
    pub fn has_adapter(&self) -> bool {
        self.kind().has_adapter()
    }

    /// Whether it starts from the digits of the base's own weights: the model is best loaded in f32 then, and
    /// [`inject`](crate::inject) rounds what is not trained.
    pub fn starts_from_weights(&self) -> bool {
        self.kind().starts_from_weights()
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.kind().describe())
    }
}
