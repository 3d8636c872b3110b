use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tallow_t5::T5;

use crate::file::{ConfigFile, Layout, Stored, map};
use crate::kind::{Draft, Kind, Start, Trained};
use crate::{Error, Result};

/// Settings of prompt tuning, by peft's names where peft has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptOptions {
    /// Virtual tokens before every source.
    pub num_virtual_tokens: usize,
    /// What they hold before the first step.
    pub prompt_tuning_init: PromptStart,
    /// Tokens whose rows of the embedding they start as, over and over where there are fewer: those of a text, which
    /// whoever has a tokenizer puts here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_tokens: Vec<u32>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tuning_init_text: Option<String>,
}

/// What virtual tokens hold before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptStart {
    /// Normal, with the deviation of the embedding's own values.
    Random,
    /// Rows of the embedding, of tokens that are drawn.
    #[default]
    Vocabulary,
    /// Rows of the embedding, of a text's tokens.
    Text,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self {
            num_virtual_tokens: 20,
            prompt_tuning_init: PromptStart::default(),
            init_tokens: Vec::new(),
            prompt_tuning_init_text: None,
        }
    }
}

const NAME: &str = "prompt_embeddings";

/// peft's file has a second half, for the decoder, which it does not use.
struct TwoHalves {
    tokens: usize,
    d: usize,
}

impl Layout for TwoHalves {
    fn stored(&self) -> Vec<Stored> {
        vec![(NAME.to_owned(), vec![2 * self.tokens, self.d])]
    }

    fn trained(&self, stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
        stored.into_iter().map(|prompt| Ok(prompt.narrow(0, 0, self.tokens)?.contiguous()?)).collect()
    }

    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let whole = |prompt: Tensor| Ok(Tensor::cat(&[&prompt, &prompt.zeros_like()?], 0)?);
        trained.into_iter().map(whole).collect()
    }
}

impl PromptOptions {
    pub(crate) fn read(config: &ConfigFile) -> Result<Self> {
        config.harmless(&[
            "num_attention_heads",
            "num_layers",
            "num_transformer_submodules",
            "prompt_tuning_init",
            "prompt_tuning_init_text",
            "token_dim",
            "tokenizer_kwargs",
            "tokenizer_name_or_path",
        ]);
        config.refuse(&["modules_to_save"])?;
        let num_virtual_tokens = config.whole("num_virtual_tokens")?;
        config.check(Self { num_virtual_tokens, prompt_tuning_init: PromptStart::Random, ..Self::default() })
    }

    fn start(&self, model: &T5) -> Result<Start> {
        let (table, vocabulary) = (model.embedding(), model.config.vocab_size);
        match self.prompt_tuning_init {
            PromptStart::Random => {
                let values = table.to_dtype(DType::F32)?.flatten_all()?;
                let squares = values.sqr()?.mean_all()?.to_device(&Device::Cpu)?.to_scalar::<f32>()?;
                Ok(Start::Normal(f64::from(squares).sqrt()))
            }
            PromptStart::Vocabulary => Ok(Start::Rows(table.clone())),
            PromptStart::Text => {
                let tokens = &self.init_tokens;
                if tokens.is_empty() {
                    let what = "prompt_tuning_init_text has not been turned into init_tokens".to_owned();
                    return Err(Error::Tokens { what });
                }
                if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
                    return Err(Error::Tokens {
                        what: format!("init_tokens: {token} is past the vocabulary of {vocabulary}"),
                    });
                }
                let tokens: Vec<u32> = tokens.iter().copied().cycle().take(self.num_virtual_tokens).collect();
                let tokens = Tensor::new(tokens, table.device())?;
                Ok(Start::Values(table.index_select(&tokens, 0)?))
            }
        }
    }
}

impl Kind for PromptOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.num_virtual_tokens == 0 {
            problems.push(("num_virtual_tokens", "must be at least 1".to_owned()));
        }
        if self.num_virtual_tokens > 16_384 {
            problems.push(("num_virtual_tokens", "must be at most 16384".to_owned()));
        }
        let is_text = self.prompt_tuning_init == PromptStart::Text;
        let has_text = self.prompt_tuning_init_text.is_some() || !self.init_tokens.is_empty();
        if is_text && !has_text {
            problems.push(("prompt_tuning_init_text", "is needed to start from a text".to_owned()));
        }
        if self.prompt_tuning_init_text.as_deref().is_some_and(|text| text.trim().is_empty()) {
            problems.push(("prompt_tuning_init_text", "is empty".to_owned()));
        }
        if self.prompt_tuning_init_text.is_some() && !self.init_tokens.is_empty() {
            problems.push((
                "init_tokens",
                "is there beside prompt_tuning_init_text: give one of them".to_owned(),
            ));
        }
        let what = "is there, but prompt_tuning_init is not \"text\"";
        if !is_text && self.prompt_tuning_init_text.is_some() {
            problems.push(("prompt_tuning_init_text", what.to_owned()));
        } else if !is_text && has_text {
            problems.push(("init_tokens", what.to_owned()));
        }
        problems
    }

    fn describe(&self) -> String {
        format!("a prompt of {} virtual tokens", self.num_virtual_tokens)
    }

    fn draft(&self, model: &T5, fresh: bool) -> Result<Draft> {
        let (tokens, d) = (self.num_virtual_tokens, model.config.d_model);
        let start = if fresh { self.start(model)? } else { Start::Zeros };
        Ok(Draft {
            tensors: vec![Trained::new(NAME, [tokens, d], start)],
            layout: Box::new(TwoHalves { tokens, d }),
            hook: Box::new(|model, traced| {
                model.prompt = traced.first().cloned();
                Ok(())
            }),
        })
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        map(json!({
            "modules_to_save": null,
            "num_attention_heads": model.config.num_heads,
            "num_layers": model.config.num_layers,
            "num_transformer_submodules": 2,
            "num_virtual_tokens": self.num_virtual_tokens,
            "peft_type": "PROMPT_TUNING",
            "prompt_tuning_init": "RANDOM",
            "prompt_tuning_init_text": null,
            "token_dim": model.config.d_model,
            "tokenizer_kwargs": null,
            "tokenizer_name_or_path": null,
        }))
    }
}
