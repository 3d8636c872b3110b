use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tallow_t5::{PrefixPlace, Sublayer, T5};

use crate::Result;
use crate::file::{ConfigFile, Layout, Stored, map};
use crate::kind::{Draft, Kind, Start, Trained};

/// Settings of prefix tuning. Li and Liang 2021.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrefixOptions {
    /// Keys and values before those of every row.
    pub num_virtual_tokens: usize,
    /// The attentions that find them: peft knows the decoder's self-attention alone.
    pub attentions: Vec<PrefixAttention>,
}

/// The attentions of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrefixAttention {
    /// Self-attention of the decoder.
    Decoder,
    /// Self-attention of the encoder.
    Encoder,
    /// Cross-attention.
    Cross,
}

impl Default for PrefixOptions {
    fn default() -> Self {
        Self { num_virtual_tokens: 20, attentions: vec![PrefixAttention::Decoder] }
    }
}

impl PrefixAttention {
    const ALL: [Self; 3] = [Self::Decoder, Self::Encoder, Self::Cross];

    fn is_at(self, place: &PrefixPlace) -> bool {
        let sublayer = if self == Self::Cross { Sublayer::CrossAttention } else { Sublayer::SelfAttention };
        let stack = if self == Self::Encoder { "encoder." } else { "decoder." };
        place.sublayer == sublayer && place.name.starts_with(stack)
    }

    /// The tensor's name in a file: peft's own for the decoder's.
    fn stored_name(self) -> &'static str {
        match self {
            Self::Decoder => "prompt_embeddings",
            Self::Encoder => "encoder_prompt_embeddings",
            Self::Cross => "cross_prompt_embeddings",
        }
    }
}

/// peft's file has keys and values of all layers side by side: (N, layers 2 inner).
struct SideBySide {
    /// Each kind of attention's name in the file, and its layers.
    kinds: Vec<(&'static str, usize)>,
    tokens: usize,
    inner: usize,
}

impl Layout for SideBySide {
    fn stored(&self) -> Vec<Stored> {
        let shape = |layers: usize| vec![self.tokens, layers * 2 * self.inner];
        self.kinds.iter().map(|&(name, layers)| (name.to_owned(), shape(layers))).collect()
    }

    fn trained(&self, stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut trained = Vec::new();
        for (whole, &(_, layers)) in stored.iter().zip(&self.kinds) {
            for i in 0..2 * layers {
                trained.push(whole.narrow(1, i * self.inner, self.inner)?.contiguous()?);
            }
        }
        Ok(trained)
    }

    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut rest = trained.as_slice();
        let written = self.kinds.iter().map(|&(_, layers)| {
            let (parts, others) = rest.split_at(2 * layers);
            rest = others;
            Ok(Tensor::cat(parts, 1)?)
        });
        written.collect()
    }
}

impl PrefixOptions {
    pub(crate) fn read(config: &ConfigFile) -> Result<Self> {
        config.harmless(&[
            "encoder_hidden_size",
            "init_weights",
            "num_attention_heads",
            "num_layers",
            "num_transformer_submodules",
            "token_dim",
        ]);
        config.refuse(&["modules_to_save", "prefix_projection"])?;
        let attentions = config.parsed("attentions", "a list of decoder, encoder and cross")?;
        let default = Self::default();
        config.check(Self {
            num_virtual_tokens: config.whole("num_virtual_tokens")?,
            attentions: attentions.unwrap_or(default.attentions),
        })
    }

    /// The kinds of attention, in the order in which they lie in the buffer.
    fn kinds(&self) -> impl Iterator<Item = PrefixAttention> + use<> {
        let wanted = self.attentions.clone();
        PrefixAttention::ALL.into_iter().filter(move |kind| wanted.contains(kind))
    }
}

impl Kind for PrefixOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.num_virtual_tokens == 0 {
            problems.push(("num_virtual_tokens", "must be at least 1".to_owned()));
        }
        if self.attentions.is_empty() {
            problems.push(("attentions", "is empty: name at least one of decoder, encoder, cross".to_owned()));
        }
        problems
    }

    fn describe(&self) -> String {
        let names: Vec<String> = self.kinds().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        format!("prefixes of {} keys and values in {} attention", self.num_virtual_tokens, names.join(", "))
    }

    fn draft(&self, model: &T5, _fresh: bool) -> Result<Draft> {
        let (tokens, inner) = (self.num_virtual_tokens, model.config.inner());
        let mut model = model.clone();
        let places = model.prefixes_mut();
        let (mut kinds, mut names, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
        for kind in self.kinds() {
            let before = names.len();
            names.extend(places.iter().filter(|place| kind.is_at(place)).map(|place| place.name.clone()));
            kinds.push((kind.stored_name(), names.len() - before));
        }
        for name in &names {
            // peft's embedding starts normal with deviation 1.
            let part = |part: &str| Trained::new(format!("{name}.prefix_{part}"), [tokens, inner], Start::Normal(1.0));
            tensors.extend(["key", "value"].map(part));
        }
        Ok(Draft {
            tensors,
            layout: Box::new(SideBySide { kinds, tokens, inner }),
            hook: Box::new(move |model, traced| {
                let mut places = model.prefixes_mut();
                for (name, pair) in names.iter().zip(traced.chunks_exact(2)) {
                    let place = places.iter_mut().find(|place| place.name == *name);
                    *place.expect("the attention was found before").prefix = Some([pair[0].clone(), pair[1].clone()]);
                }
                Ok(())
            }),
        })
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        let mut config = map(json!({
            "encoder_hidden_size": model.config.d_model,
            "init_weights": null,
            "modules_to_save": null,
            "num_attention_heads": model.config.num_heads,
            "num_layers": model.config.num_decoder_layers,
            "num_transformer_submodules": 2,
            "num_virtual_tokens": self.num_virtual_tokens,
            "peft_type": "PREFIX_TUNING",
            "prefix_projection": false,
            // peft reshapes (N, layers 2 token_dim).
            "token_dim": model.config.inner(),
        }));
        if self.attentions != Self::default().attentions {
            config.insert("attentions".to_owned(), json!(self.kinds().collect::<Vec<_>>()));
        }
        config
    }
}
