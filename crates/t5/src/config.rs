use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result};

/// The activation of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// T5 v1.0: max(wi x, 0).
    Relu,
    /// T5 v1.1 and FLAN-T5: gelu(wi_0 x) wi_1 x.
    GatedGelu,
}

/// A model's geometry, as Hugging Face's config.json has it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The rows of the embedding and of the head.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub d_model: usize,
    /// The width of a head; heads x d_kv need not be d_model.
    pub d_kv: usize,
    /// The width of the feed-forward layers.
    pub d_ff: usize,
    /// The number of heads.
    pub num_heads: usize,
    /// The encoder's blocks.
    pub num_layers: usize,
    /// The decoder's blocks.
    pub num_decoder_layers: usize,
    /// The rows of the relative-position tables.
    pub relative_attention_num_buckets: usize,
    /// The distance from which on all share a bucket.
    pub relative_attention_max_distance: usize,
    /// Added to the mean square in the norms.
    pub layer_norm_epsilon: f64,
    /// The probability that an activation is dropped in training.
    pub dropout_rate: f64,
    /// The feed-forward activation.
    pub activation: Activation,
    /// Whether the head may be the embedding.
    pub tie_word_embeddings: bool,
    /// Whether the decoder's output is multiplied by d_model^-0.5 before the head.
    pub scale_decoder_outputs: bool,
    /// What fills rows in other tools; never seen by the model here.
    pub pad_token_id: u32,
    /// What ends a text.
    pub eos_token_id: u32,
    /// What the decoder starts from.
    pub decoder_start_token_id: u32,
}

#[derive(Deserialize)]
struct File {
    vocab_size: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_heads: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    #[serde(default = "default_buckets")]
    relative_attention_num_buckets: usize,
    #[serde(default = "default_max_distance")]
    relative_attention_max_distance: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "default_dropout")]
    dropout_rate: f64,
    #[serde(default = "default_projection")]
    feed_forward_proj: String,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
    pad_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    decoder_start_token_id: Option<u32>,
}

fn default_buckets() -> usize {
    32
}

fn default_max_distance() -> usize {
    128
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_dropout() -> f64 {
    0.1
}

fn default_projection() -> String {
    "relu".into()
}

impl Config {
    /// Reads a config.json.
    ///
    /// # Errors
    /// If it is not there, is not valid, or is of a model that is not a T5.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let fail = |what: String| Error::Config { path: path.to_path_buf(), what };
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| fail(format!("not JSON: {error}")))?;
        // First, since another kind of model has other keys.
        if let Some(kind) = json["model_type"].as_str().filter(|kind| *kind != "t5") {
            return Err(fail(format!("model_type is `{kind}`; T5 and FLAN-T5 (`t5`) can be trained")));
        }
        let file = File::deserialize(json).map_err(|error| fail(format!("not a T5's config: {error}")))?;
        Self::new(file).map_err(fail)
    }

    fn new(file: File) -> Result<Self, String> {
        let activation = match file.feed_forward_proj.as_str() {
            "relu" => Activation::Relu,
            "gated-gelu" => Activation::GatedGelu,
            other => {
                return Err(format!("feed_forward_proj is `{other}`; known are `relu` and `gated-gelu`"));
            }
        };
        // Absent means tied, as in transformers.
        let tied = file.tie_word_embeddings.unwrap_or(true);
        let config = Self {
            vocab_size: file.vocab_size,
            d_model: file.d_model,
            d_kv: file.d_kv,
            d_ff: file.d_ff,
            num_heads: file.num_heads,
            num_layers: file.num_layers,
            num_decoder_layers: file.num_decoder_layers.unwrap_or(file.num_layers),
            relative_attention_num_buckets: file.relative_attention_num_buckets,
            relative_attention_max_distance: file.relative_attention_max_distance,
            layer_norm_epsilon: file.layer_norm_epsilon,
            dropout_rate: file.dropout_rate,
            activation,
            tie_word_embeddings: tied,
            scale_decoder_outputs: file.scale_decoder_outputs.unwrap_or(tied),
            pad_token_id: file.pad_token_id.unwrap_or(0),
            eos_token_id: file.eos_token_id.unwrap_or(1),
            decoder_start_token_id: file.decoder_start_token_id.or(file.pad_token_id).unwrap_or(0),
        };
        config.check()
    }

    fn check(self) -> Result<Self, String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_heads", self.num_heads),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.num_decoder_layers),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{key} is 0"));
        }
        let buckets = self.relative_attention_num_buckets;
        if buckets < 4 || self.relative_attention_max_distance <= buckets / 2 {
            return Err(format!(
                "{buckets} relative-attention buckets up to distance {}: at least 4, and more distance than half the buckets",
                self.relative_attention_max_distance
            ));
        }
        let ids = [
            ("pad_token_id", self.pad_token_id),
            ("eos_token_id", self.eos_token_id),
            ("decoder_start_token_id", self.decoder_start_token_id),
        ];
        if let Some((key, id)) = ids.iter().find(|(_, id)| *id as usize >= self.vocab_size) {
            return Err(format!("{key} is {id}, past the vocabulary of {}", self.vocab_size));
        }
        if !(0.0..1.0).contains(&self.dropout_rate) {
            return Err(format!("dropout_rate is {}, not in [0, 1)", self.dropout_rate));
        }
        Ok(self)
    }

    /// The width of all heads together.
    pub fn inner(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// The floating-point operations of a forward pass over one row: products, two for each multiplication.
    pub fn forward_flops(&self, source: usize, target: usize) -> f64 {
        let (source, target) = (source as f64, target as f64);
        let size = |x: usize| x as f64;
        let (d, inner) = (size(self.d_model), size(self.inner()));
        let products = if self.activation == Activation::GatedGelu { 3.0 } else { 2.0 };
        let projection = 2.0 * d * inner;
        let feed_forward = 2.0 * products * d * size(self.d_ff);
        let attention = |queries: f64, keys: f64| 4.0 * queries * keys * inner;
        let encoder = source * (4.0 * projection + feed_forward) + attention(source, source);
        let decoder = target * (6.0 * projection + feed_forward)
            + source * 2.0 * projection
            + attention(target, target) / 2.0
            + attention(target, source);
        size(self.num_layers) * encoder
            + size(self.num_decoder_layers) * decoder
            + target * 2.0 * d * size(self.vocab_size)
    }
}
