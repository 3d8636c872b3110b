use std::path::Path;

use candle_core::Tensor;
use serde_json::Value;

use crate::{Error, Result, T5, folder, shards};

/// What goes along with the weights and the config, where the base has it.
const BESIDE: [&str; 6] = [
    "generation_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
];

/// A file of weights has at most so many bytes, unless one tensor has more: transformers' 5 GB.
pub const MOST_SHARD_BYTES: usize = 5_000_000_000;

/// Writes `model` to `target` as a Hugging Face folder, adapters merged into the weights, f32; tokenizer and config are those
/// of `base`, the folder it was loaded from, but that the config names the weights' type where it names one, and a head of
/// the model's own where it has one; `tokenizer` is the tokenizer's file where it is not in `base`. A folder that is there
/// already is replaced whole.
///
/// # Errors
/// If an adapter cannot be merged, `base` has no config.json, or a file cannot be written.
pub fn save(model: &T5, base: &Path, tokenizer: Option<&Path>, target: &Path) -> Result<()> {
    save_in_shards(model, base, tokenizer, target, MOST_SHARD_BYTES)
}

/// The same with files of weights of at most `most_bytes`.
///
/// # Errors
/// Those of [`save`].
pub fn save_in_shards(
    model: &T5,
    base: &Path,
    tokenizer: Option<&Path>,
    target: &Path,
    most_bytes: usize,
) -> Result<()> {
    let mut weights = model.merged()?;
    folder::replace(target, |beside| {
        let (source, copy) = (base.join("config.json"), beside.join("config.json"));
        let mut config = read(&source)?;
        name_type(&mut config);
        untie(model, &mut config, &mut weights)?;
        let text = serde_json::to_string_pretty(&config).expect("a JSON value is written") + "\n";
        std::fs::write(&copy, text).map_err(Error::file(&copy))?;
        let copy = |source: &Path, file: &str| {
            std::fs::copy(source, beside.join(file)).map(drop).map_err(Error::file(source))
        };
        for file in BESIDE.into_iter().filter(|file| base.join(file).is_file()) {
            copy(&base.join(file), file)?;
        }
        if let Some(file) = tokenizer {
            copy(file, "tokenizer.json")?;
        }
        shards::write(beside, &weights, most_bytes)
    })
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Config { path: path.to_path_buf(), what: error.to_string() })
}

/// f32 as the type of the weights, where the config names one.
fn name_type(config: &mut Value) {
    // transformers 5 writes `dtype`, those before it `torch_dtype`.
    for key in ["dtype", "torch_dtype"] {
        if let Some(dtype) = config.get_mut(key) {
            *dtype = "float32".into();
        }
    }
}

/// Has the config say that the head is the model's own, if weights hold one and it says otherwise: transformers would put
/// the embedding in its place. A model that is not tied does not scale what its head reads, so the head is scaled instead.
fn untie(model: &T5, config: &mut Value, weights: &mut [(String, Tensor)]) -> Result<()> {
    let head = weights.iter_mut().find(|(name, _)| name == "lm_head.weight");
    let Some((_, head)) = head.filter(|_| model.config.tie_word_embeddings) else { return Ok(()) };
    if model.config.scale_decoder_outputs {
        *head = (&*head * (model.config.d_model as f64).powf(-0.5))?;
    }
    config["tie_word_embeddings"] = false.into();
    if let Some(scales) = config.get_mut("scale_decoder_outputs") {
        *scales = false.into();
    }
    Ok(())
}
