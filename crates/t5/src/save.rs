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

/// Writes `model` to `target` as a Hugging Face folder, adapters merged into the weights, f32; config and tokenizer are
/// those of `base`, the folder it was loaded from. A folder that is there already is replaced whole.
///
/// # Errors
/// If an adapter cannot be merged, `base` has no config.json, or a file cannot be written.
pub fn save(model: &T5, base: &Path, target: &Path) -> Result<()> {
    let merged = model.merged()?;
    folder::replace(target, |beside| {
        let present = BESIDE.into_iter().filter(|file| base.join(file).is_file());
        for file in std::iter::once("config.json").chain(present) {
            let source = base.join(file);
            std::fs::copy(&source, beside.join(file)).map_err(Error::file(&source))?;
        }
        let weights = merged.iter().map(|(name, tensor)| (name.as_str(), tensor));
        tensors::write(&beside.join("model.safetensors"), weights)
    })
}
