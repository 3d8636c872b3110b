//! The tiny FLAN-T5 that pre-training starts from: its configuration and weights drawn as T5 draws them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::random::Draw;

/// What the base may take in the repository.
const MAX_BYTES: usize = 6_000_000;
const BUCKETS: usize = 32;

/// The sizes of the model.
#[derive(Args, Clone, Debug)]
pub struct Geometry {
    /// Width of the residual stream.
    #[arg(long, default_value_t = 128)]
    pub d_model: usize,
    /// Width of a head.
    #[arg(long, default_value_t = 32)]
    pub d_kv: usize,
    /// Heads of an attention.
    #[arg(long, default_value_t = 4)]
    pub num_heads: usize,
    /// Width of the gated feed-forward layer.
    #[arg(long, default_value_t = 256)]
    pub d_ff: usize,
    /// Blocks of the encoder.
    #[arg(long, default_value_t = 3)]
    pub num_layers: usize,
    /// Blocks of the decoder.
    #[arg(long, default_value_t = 3)]
    pub num_decoder_layers: usize,
}

impl Geometry {
    /// The keys of a FLAN-T5's `config.json`.
    pub fn config(&self, vocab_size: usize) -> serde_json::Value {
        json!({
            "architectures": ["T5ForConditionalGeneration"],
            "model_type": "t5",
            "d_model": self.d_model,
            "d_kv": self.d_kv,
            "num_heads": self.num_heads,
            "d_ff": self.d_ff,
            "num_layers": self.num_layers,
            "num_decoder_layers": self.num_decoder_layers,
            "vocab_size": vocab_size,
            "dropout_rate": 0.1,
            "feed_forward_proj": "gated-gelu",
            "dense_act_fn": "gelu_new",
            "is_gated_act": true,
            "initializer_factor": 1.0,
            "is_encoder_decoder": true,
            "layer_norm_epsilon": 1e-6,
            "relative_attention_num_buckets": BUCKETS,
            "relative_attention_max_distance": 128,
            "tie_word_embeddings": false,
            "use_cache": true,
            "n_positions": 512,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
        })
    }

    /// Every weight in the order of the checkpoint: name, shape and how it is drawn.
    fn weights(&self, vocab_size: usize) -> Vec<Weight> {
        let (d, inner) = (self.d_model, self.num_heads * self.d_kv);
        let scale = |fan: usize| (fan as f64).powf(-0.5);
        let mut weights = vec![
            Weight::normal("shared.weight", [vocab_size, d], 1.0),
            // Not T5's 1.0: an untied head of that size would start from a loss of several times ln(vocabulary).
            Weight::normal("lm_head.weight", [vocab_size, d], scale(d)),
        ];
        let stacks = [
            ("encoder", self.num_layers, &["SelfAttention"][..]),
            ("decoder", self.num_decoder_layers, &["SelfAttention", "EncDecAttention"]),
        ];
        for (stack, blocks, attentions) in stacks {
            for block in 0..blocks {
                for (layer, attention) in attentions.iter().enumerate() {
                    let layer = format!("{stack}.block.{block}.layer.{layer}");
                    let name = |part: &str| format!("{layer}.{attention}.{part}.weight");
                    weights.push(Weight::normal(name("q"), [inner, d], scale(d * self.d_kv)));
                    weights.push(Weight::normal(name("k"), [inner, d], scale(d)));
                    weights.push(Weight::normal(name("v"), [inner, d], scale(d)));
                    weights.push(Weight::normal(name("o"), [d, inner], scale(inner)));
                    if block == 0 && *attention == "SelfAttention" {
                        let shape = [BUCKETS, self.num_heads];
                        weights.push(Weight::normal(name("relative_attention_bias"), shape, scale(d)));
                    }
                    weights.push(Weight::ones(format!("{layer}.layer_norm.weight"), d));
                }
                let layer = format!("{stack}.block.{block}.layer.{}", attentions.len());
                let name = |part: &str| format!("{layer}.DenseReluDense.{part}.weight");
                weights.push(Weight::normal(name("wi_0"), [self.d_ff, d], scale(d)));
                weights.push(Weight::normal(name("wi_1"), [self.d_ff, d], scale(d)));
                weights.push(Weight::normal(name("wo"), [d, self.d_ff], scale(self.d_ff)));
                weights.push(Weight::ones(format!("{layer}.layer_norm.weight"), d));
            }
            weights.push(Weight::ones(format!("{stack}.final_layer_norm.weight"), d));
        }
        weights
    }
}

/// A weight to be drawn.
struct Weight {
    name: String,
    shape: Vec<usize>,
    /// The standard deviation, or none for ones.
    std: Option<f64>,
}

impl Weight {
    fn normal(name: impl Into<String>, shape: [usize; 2], std: f64) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), std: Some(std) }
    }

    fn ones(name: String, length: usize) -> Self {
        Self { name, shape: vec![length], std: None }
    }

    /// The values as little-endian f32; each weight has a stream of its own.
    fn bytes(&self, seed: u64) -> Vec<u8> {
        let mut draw = Draw::new(seed, &self.name);
        let count = self.shape.iter().product();
        let value = |_| self.std.map_or(1.0, |std| (draw.normal() * std) as f32);
        (0..count).map(value).flat_map(f32::to_le_bytes).collect()
    }
}

/// The vocabulary of the model for a tokenizer's: rounded up to a multiple of 64.
pub fn vocab_size(pieces: usize) -> usize {
    pieces.next_multiple_of(64)
}

/// Writes `config.json` beside the tokenizer in `base`, and a whole model to start from (configuration, tokenizer
/// and `model.safetensors`) into `out`. Returns the number of parameters.
///
/// # Errors
/// If the weights take more than the base may take in the repository, or a file cannot be read or written.
pub fn write(geometry: &Geometry, pieces: usize, base: &Path, out: &Path, seed: u64) -> Result<usize> {
    let vocab_size = vocab_size(pieces);
    let weights = geometry.weights(vocab_size);
    let parameters: usize = weights.iter().map(|weight| weight.shape.iter().product::<usize>()).sum();
    ensure!(
        4 * parameters <= MAX_BYTES,
        "{parameters} parameters take {:.2} MB as f32, but the base may take {:.2} MB: choose smaller sizes \
         (a vocabulary of {vocab_size} takes {} of them)",
        4e-6 * parameters as f64,
        1e-6 * MAX_BYTES as f64,
        2 * vocab_size * geometry.d_model,
    );

    let config = serde_json::to_string_pretty(&geometry.config(vocab_size))? + "\n";
    fs::create_dir_all(out)?;
    for folder in [base, out] {
        let path = folder.join("config.json");
        fs::write(&path, &config).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let [from, to] = [base, out].map(|folder| folder.join("tokenizer.json"));
    if from != to {
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }

    let bytes: Vec<Vec<u8>> = weights.iter().map(|weight| weight.bytes(seed)).collect();
    let mut views = BTreeMap::new();
    for (weight, bytes) in weights.iter().zip(&bytes) {
        views.insert(weight.name.as_str(), TensorView::new(Dtype::F32, weight.shape.clone(), bytes)?);
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = out.join("model.safetensors");
    safetensors::serialize_to_file(views, Some(metadata), &path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn geometry() -> Geometry {
        Geometry { d_model: 16, d_kv: 4, num_heads: 2, d_ff: 24, num_layers: 2, num_decoder_layers: 1 }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        folder
    }

    #[test]
    fn the_weights_have_the_names_and_shapes_of_a_flan_t5() {
        let (base, out) = (folder(), tempfile::tempdir().unwrap());
        write(&geometry(), 100, base.path(), out.path(), 1).unwrap();
        let bytes = fs::read(out.path().join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let expected: [(&str, &[usize]); 9] = [
            ("shared.weight", &[128, 16]),
            ("lm_head.weight", &[128, 16]),
            ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &[32, 2]),
            ("encoder.block.1.layer.0.SelfAttention.q.weight", &[8, 16]),
            ("encoder.block.1.layer.1.DenseReluDense.wi_1.weight", &[24, 16]),
            ("decoder.block.0.layer.1.EncDecAttention.o.weight", &[16, 8]),
            ("decoder.block.0.layer.2.DenseReluDense.wo.weight", &[16, 24]),
            ("decoder.block.0.layer.2.layer_norm.weight", &[16]),
            ("decoder.final_layer_norm.weight", &[16]),
        ];
        for (name, shape) in expected {
            assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
        }
        // 2 embeddings, 2 encoder blocks of 9, 1 decoder block of 14, 2 tables of positions, 2 final norms.
        assert_eq!(file.len(), 2 + 2 * 9 + 14 + 2 + 2);
        let norm = file.tensor("encoder.final_layer_norm.weight").unwrap();
        assert!(norm.data().chunks(4).all(|value| value == 1f32.to_le_bytes()));
        assert_eq!(
            fs::read(base.path().join("config.json")).unwrap(),
            fs::read(out.path().join("config.json")).unwrap()
        );
    }

    #[test]
    fn a_seed_gives_the_same_file() {
        let base = folder();
        let read = |seed| {
            let out = tempfile::tempdir().unwrap();
            write(&geometry(), 100, base.path(), out.path(), seed).unwrap();
            fs::read(out.path().join("model.safetensors")).unwrap()
        };
        assert_eq!(read(1), read(1));
        assert_ne!(read(1), read(2));
    }

    #[test]
    fn a_base_over_six_megabytes_is_refused() {
        let (base, out) = (folder(), tempfile::tempdir().unwrap());
        let error =
            write(&Geometry { d_model: 512, ..geometry() }, 2000, base.path(), out.path(), 1).unwrap_err();
        assert!(error.to_string().contains("choose smaller sizes"), "{error}");
    }
}
