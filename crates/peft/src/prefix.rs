use std::collections::BTreeSet;
use std::sync::Arc;

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

    /// The layers that read each pair of keys and values, of so many. peft hands a decoder layer four parts of its tensor,
    /// those of cross-attention for naught, and begins anew at its end: the pair 2 l mod layers goes to layer l, so of an
    /// even number of layers two share a pair, and every other pair is read by none.
    fn pair_of(self, layer: usize, layers: usize) -> usize {
        if self == Self::Decoder { 2 * layer % layers } else { layer }
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

/// The attentions of one kind.
struct Layers {
    kind: PrefixAttention,
    /// The attentions' names, in the model's order.
    names: Vec<String>,
    /// The pairs that are read, in order.
    pairs: Vec<usize>,
}

impl Layers {
    fn of(kind: PrefixAttention, places: &[PrefixPlace]) -> Self {
        let names = places.iter().filter(|place| kind.is_at(place)).map(|place| place.name.clone());
        let names: Vec<String> = names.collect();
        let pairs: BTreeSet<usize> = (0..names.len()).map(|layer| kind.pair_of(layer, names.len())).collect();
        Self { kind, names, pairs: pairs.into_iter().collect() }
    }
}

/// peft's file has keys and values of all layers side by side: (N, layers 2 inner).
struct SideBySide {
    kinds: Arc<[Layers]>,
    tokens: usize,
    inner: usize,
}

impl Layout for SideBySide {
    fn stored(&self) -> Vec<Stored> {
        let shape = |layers: &Layers| vec![self.tokens, layers.names.len() * 2 * self.inner];
        self.kinds.iter().map(|layers| (layers.kind.stored_name().to_owned(), shape(layers))).collect()
    }

    fn trained(&self, stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut trained = Vec::new();
        for (whole, layers) in stored.iter().zip(&*self.kinds) {
            for i in layers.pairs.iter().flat_map(|pair| [2 * pair, 2 * pair + 1]) {
                trained.push(whole.narrow(1, i * self.inner, self.inner)?.contiguous()?);
            }
        }
        Ok(trained)
    }

    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut rest = trained.as_slice();
        let written = self.kinds.iter().map(|layers| {
            let (read, others) = rest.split_at(2 * layers.pairs.len());
            rest = others;
            let unread = read[0].zeros_like()?;
            let mut parts = vec![&unread; 2 * layers.names.len()];
            for (pair, read) in layers.pairs.iter().zip(read.chunks_exact(2)) {
                (parts[2 * pair], parts[2 * pair + 1]) = (&read[0], &read[1]);
            }
            Ok(Tensor::cat(&parts, 1)?)
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
            problems
                .push(("attentions", "is empty: name at least one of decoder, encoder, cross".to_owned()));
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
        let kinds: Arc<[Layers]> = self.kinds().map(|kind| Layers::of(kind, &places)).collect();
        let mut tensors = Vec::new();
        for layers in &*kinds {
            for pair in &layers.pairs {
                // peft's embedding starts normal with deviation 1.
                let name = |part: &str| format!("{}.{pair}.{part}", layers.kind.stored_name());
                let part = |part: &str| Trained::new(name(part), [tokens, inner], Start::Normal(1.0));
                tensors.extend(["key", "value"].map(part));
            }
        }
        Ok(Draft {
            tensors,
            layout: Box::new(SideBySide { kinds: kinds.clone(), tokens, inner }),
            hook: Box::new(move |model, traced| {
                let (mut places, mut rest) = (model.prefixes_mut(), traced);
                for Layers { kind, names, pairs } in &*kinds {
                    let (own, others) = rest.split_at(2 * pairs.len());
                    rest = others;
                    for (layer, name) in names.iter().enumerate() {
                        let pair = kind.pair_of(layer, names.len());
                        let pair = 2 * pairs.binary_search(&pair).expect("every layer's pair is there");
                        let place = places.iter_mut().find(|place| place.name == *name);
                        *place.expect("the attention was found before").prefix =
                            Some([own[pair].clone(), own[pair + 1].clone()]);
                    }
                }
                Ok(())
            }),
        })
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        // What peft would pass over in silence has a kind of its own.
        let of_peft = self.attentions == Self::default().attentions;
        let mut config = map(json!({
            "encoder_hidden_size": model.config.d_model,
            "init_weights": null,
            "modules_to_save": null,
            "num_attention_heads": model.config.num_heads,
            "num_layers": model.config.num_decoder_layers,
            "num_transformer_submodules": 2,
            "num_virtual_tokens": self.num_virtual_tokens,
            "peft_type": if of_peft { "PREFIX_TUNING" } else { "TALLOW_PREFIX" },
            "prefix_projection": false,
            // peft reshapes (N, layers 2 token_dim).
            "token_dim": model.config.inner(),
        }));
        if !of_peft {
            config.insert("attentions".to_owned(), json!(self.kinds().collect::<Vec<_>>()));
        }
        config
    }
}
