use std::path::Path;

use crate::{Error, Result, T5, folder, tensors};

/// What goes along with the weights and the config, where the base has it.
const BESIDE: [&str; 6] = [
    "generation_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
];

/// Writes `model` to `target` as a Hugging Face folder, adapters merged into the weights, f32; config (but for the type
/// of the weights, if it names one) and tokenizer are those of `base`, the folder it was loaded from; `tokenizer`
/// is the tokenizer's file where it is not in there. A folder that is there already is replaced whole.
///
/// # Errors
/// If an adapter cannot be merged, `base` has no config.json, or a file cannot be written.
pub fn save(model: &T5, base: &Path, tokenizer: Option<&Path>, target: &Path) -> Result<()> {
    let merged = model.merged()?;
    folder::replace(target, |beside| {
        let (source, copy) = (base.join("config.json"), beside.join("config.json"));
        std::fs::write(&copy, config_in_f32(&source)?).map_err(Error::file(&copy))?;
        let copy = |source: &Path, file: &str| {
            std::fs::copy(source, beside.join(file)).map(drop).map_err(Error::file(source))
        };
        for file in BESIDE.into_iter().filter(|file| base.join(file).is_file()) {
            copy(&base.join(file), file)?;
        }
        if let Some(file) = tokenizer {
            copy(file, "tokenizer.json")?;
        }
        let weights = merged.iter().map(|(name, tensor)| (name.as_str(), tensor));
        tensors::write(&beside.join("model.safetensors"), weights)
    })
}

/// The config.json at `path`, with f32 as the type of the weights where it names one.
fn config_in_f32(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let mut config: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::Config { path: path.to_path_buf(), what: error.to_string() })?;
    // transformers 5 writes `dtype`, those before it `torch_dtype`.
    for key in ["dtype", "torch_dtype"] {
        if let Some(dtype) = config.get_mut(key) {
            *dtype = "float32".into();
        }
    }
    Ok(serde_json::to_string_pretty(&config).expect("a JSON value is written") + "\n")
}
