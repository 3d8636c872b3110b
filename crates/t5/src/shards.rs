//! Weights in several files, as transformers writes them.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde_json::json;

use crate::{Error, Result, tensors};

/// Writes tensors to `folder`: as model.safetensors if they take at most `most` bytes, else as
/// model-00001-of-0000N.safetensors, in order, each filled up to `most` bytes or with one larger tensor, and
/// model.safetensors.index.json.
pub(crate) fn write(folder: &Path, named: &[(String, Tensor)], most: usize) -> Result<()> {
    let shards = split(named, most);
    let put = |file: &str, shard: &[(String, Tensor)]| {
        tensors::write(&folder.join(file), shard.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    };
    if shards.len() <= 1 {
        return put("model.safetensors", named);
    }
    let mut map = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        put(&file, shard)?;
        map.extend(shard.iter().map(|(name, _)| (name, file.clone())));
    }
    let values: usize = named.iter().map(|(_, tensor)| tensor.elem_count()).sum();
    let total: usize = named.iter().map(|(_, tensor)| bytes(tensor)).sum();
    let index = json!({
        "metadata": { "total_parameters": values, "total_size": total },
        "weight_map": map,
    });
    let path = folder.join("model.safetensors.index.json");
    let text = serde_json::to_string_pretty(&index).expect("a JSON value is written") + "\n";
    std::fs::write(&path, text).map_err(Error::file(&path))
}

fn bytes(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}

/// Tensors in order, in parts of at most `most` bytes, or of one tensor.
fn split(named: &[(String, Tensor)], most: usize) -> Vec<&[(String, Tensor)]> {
    let mut shards = Vec::new();
    let (mut first, mut taken) = (0, 0);
    for (i, (_, tensor)) in named.iter().enumerate() {
        if i > first && taken + bytes(tensor) > most {
            shards.push(&named[first..i]);
            (first, taken) = (i, 0);
        }
        taken += bytes(tensor);
    }
    shards.push(&named[first..]);
    shards
}
