use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use tallow_ops::Traced;
use tallow_t5::T5;

use crate::support::{MODELS, batch, folder, logits, message, model, rows, tensors, written};

const Q: &str = "encoder.block.1.layer.0.SelfAttention.q.weight";

#[test]
fn everything_that_does_not_fit_is_listed() {
    let mut changed = tensors("tiny-gated");
    changed.remove("encoder.final_layer_norm.weight");
    changed.remove("lm_head.weight");
    changed.insert(Q.into(), Tensor::zeros((32, 16), DType::F32, &Device::Cpu).unwrap());
    let copy = written("tiny-gated", &changed);
    let message = message(T5::load(copy.path(), &Device::Cpu, DType::F32));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[0], format!("{} does not fit its config.json:", copy.path().display()));
    assert_eq!(
        lines[1..],
        [
            "  - lm_head.weight: missing, expected [384, 32]",
            &format!("  - {Q}: shape [32, 16], expected [32, 32]"),
            "  - encoder.final_layer_norm.weight: missing, expected [32]",
        ]
    );
}

#[test]
fn files_that_are_cut_short_are_refused() {
    let whole = std::fs::read(folder("tiny-tied").join("model.safetensors")).unwrap();
    for length in [0, 4, 100, whole.len() - 1] {
        let copy = written("tiny-tied", &HashMap::new());
        let path = copy.path().join("model.safetensors");
        std::fs::write(&path, &whole[..length]).unwrap();
        let wanted = format!("{}: the file is cut short or not safetensors", path.display());
        let message = message(T5::load(copy.path(), &Device::Cpu, DType::F32));
        assert!(message.starts_with(&wanted), "{length} bytes: {message}");
    }
}

#[test]
fn missing_files_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let found = message(T5::load(empty.path(), &Device::Cpu, DType::F32));
    assert!(found.contains("config.json: No such file"), "{found}");
    std::fs::copy(folder("tiny-tied").join("config.json"), empty.path().join("config.json")).unwrap();
    let found = message(T5::load(empty.path(), &Device::Cpu, DType::F32));
    assert!(found.contains("model.safetensors: No such file"), "{found}");
}

/// A copy of the model in two shards, with an index over `listed`.
fn sharded(
    name: &str,
    listed: impl Fn(&mut serde_json::Map<String, serde_json::Value>),
) -> tempfile::TempDir {
    let copy = written(name, &HashMap::new());
    std::fs::remove_file(copy.path().join("model.safetensors")).unwrap();
    let mut tensors: Vec<(String, Tensor)> = tensors(name).into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let half = tensors.len() / 2;
    let mut map = serde_json::Map::new();
    for (number, shard) in [&tensors[..half], &tensors[half..]].into_iter().enumerate() {
        let file = format!("model-{:05}-of-00002.safetensors", number + 1);
        map.extend(shard.iter().map(|(name, _)| (name.clone(), file.clone().into())));
        let shard: HashMap<String, Tensor> = shard.iter().cloned().collect();
        candle_core::safetensors::save(&shard, copy.path().join(file)).unwrap();
    }
    listed(&mut map);
    let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    std::fs::write(copy.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    copy
}

#[test]
fn shards_are_the_whole_file() {
    for name in MODELS {
        let copy = sharded(name, |_| ());
        let found = T5::load(copy.path(), &Device::Cpu, DType::F32).unwrap();
        assert_eq!(logits(&found, &batch(&rows())), logits(&model(name), &batch(&rows())));
        std::fs::remove_file(copy.path().join("model-00002-of-00002.safetensors")).unwrap();
        let found = message(T5::load(copy.path(), &Device::Cpu, DType::F32));
        assert!(found.contains("model-00002-of-00002.safetensors: No such file"), "{found}");
    }
}

#[test]
fn a_shard_that_lacks_what_the_index_lists_is_refused() {
    let copy = sharded("tiny-gated", |map| {
        map.insert("encoder.block.9.q".into(), "model-00001-of-00002.safetensors".into());
    });
    let found = message(T5::load(copy.path(), &Device::Cpu, DType::F32));
    assert!(found.ends_with("encoder.block.9.q is not in model-00001-of-00002.safetensors"), "{found}");
}

#[test]
fn a_whole_file_goes_before_an_index() {
    let copy = sharded("tiny-gated", |_| ());
    let mut other = tensors("tiny-gated");
    let head = other.remove("lm_head.weight").unwrap();
    other.insert("lm_head.weight".into(), (head * 2.0).unwrap());
    candle_core::safetensors::save(&other, copy.path().join("model.safetensors")).unwrap();
    let found = logits(&T5::load(copy.path(), &Device::Cpu, DType::F32).unwrap(), &batch(&rows()));
    let doubled: Vec<Vec<f32>> = logits(&model("tiny-gated"), &batch(&rows()))
        .into_iter()
        .map(|row| row.into_iter().map(|x| 2.0 * x).collect())
        .collect();
    assert_eq!(found, doubled);
}

#[test]
fn weights_that_lie_askew_in_their_file_are_copied() {
    let copy = written("tiny-gated", &tensors("tiny-gated"));
    let path = copy.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let (length, rest) = whole.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap());
    let (header, values) = rest.split_at(length as usize);
    // Blanks behind the header are part of it.
    for blanks in 1..4 {
        let length = (length + blanks as u64).to_le_bytes();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, [&length[..], header, &b"   "[..blanks], values].concat()).unwrap();
        let found = T5::load(copy.path(), &Device::Cpu, DType::F32).unwrap();
        assert_eq!(logits(&found, &batch(&rows())), logits(&model("tiny-gated"), &batch(&rows())));
    }
}

#[test]
fn weights_outlive_their_file_and_what_is_trained_of_them() {
    let copy = written("tiny-tied", &tensors("tiny-tied"));
    let base = T5::load(copy.path(), &Device::Cpu, DType::F32).unwrap();
    drop(copy);
    let mut trained = base.clone();
    for weight in trained.weights_mut() {
        let doubled = (weight.value.value() * 2.0).unwrap();
        weight.replace(Traced::constant(doubled));
    }
    let wanted = logits(&model("tiny-tied"), &batch(&rows()));
    assert_ne!(logits(&trained, &batch(&rows())), wanted);
    drop(trained);
    assert_eq!(logits(&base, &batch(&rows())), wanted);
}

#[test]
fn half_precision_weights_are_widened() {
    for dtype in [DType::BF16, DType::F16] {
        let half: HashMap<String, Tensor> =
            tensors("tiny-gated").into_iter().map(|(name, x)| (name, x.to_dtype(dtype).unwrap())).collect();
        let widened = half.iter().map(|(name, x)| (name.clone(), x.to_dtype(DType::F32).unwrap())).collect();
        let load =
            |tensors| T5::load(written("tiny-gated", tensors).path(), &Device::Cpu, DType::F32).unwrap();
        let found = logits(&load(&half), &batch(&rows()));
        assert_eq!(found, logits(&load(&widened), &batch(&rows())));
        assert_ne!(found, logits(&model("tiny-gated"), &batch(&rows())), "{dtype:?} loses bits");
    }
}

#[test]
fn a_saved_model_names_the_type_of_its_weights() {
    for key in ["dtype", "torch_dtype"] {
        let base = written("tiny-gated", &tensors("tiny-gated"));
        let path = base.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let keys = config.as_object_mut().unwrap();
        keys.remove("dtype");
        keys.insert(key.into(), "bfloat16".into());
        std::fs::write(&path, config.to_string()).unwrap();
        let target = base.path().join("saved");
        tallow_t5::save(&model("tiny-gated"), base.path(), None, &target).unwrap();
        config[key] = "float32".into();
        let found = std::fs::read(target.join("config.json")).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&found).unwrap(), config);
    }
}

#[test]
fn the_embedding_has_an_alias() {
    for name in MODELS {
        let mut renamed = tensors(name);
        let shared = renamed.remove("shared.weight").unwrap();
        renamed.insert("encoder.embed_tokens.weight".into(), shared);
        let copy = written(name, &renamed);
        let mut found = T5::load(copy.path(), &Device::Cpu, DType::F32).unwrap();
        assert_eq!(logits(&found, &batch(&rows())), logits(&model(name), &batch(&rows())));
        assert_eq!(found.weights_mut()[0].name(), "shared.weight");
    }
}

#[test]
fn a_head_of_its_own_wins_over_tying() {
    let base = model("tiny-tied");
    assert!(base.is_tied() && !model("tiny-gated").is_tied());
    let mut with_head = tensors("tiny-tied");
    let head = (&with_head["shared.weight"] * 2.0).unwrap();
    with_head.insert("lm_head.weight".into(), head);
    let found = T5::load(written("tiny-tied", &with_head).path(), &Device::Cpu, DType::F32).unwrap();
    assert!(!found.is_tied());
    let doubled: Vec<Vec<f32>> = logits(&base, &batch(&rows()))
        .into_iter()
        .map(|row| row.into_iter().map(|x| 2.0 * x).collect())
        .collect();
    assert_eq!(logits(&found, &batch(&rows())), doubled);
}

#[test]
fn a_saved_model_is_the_model() {
    for name in MODELS {
        let base = folder(name);
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("saved");
        tallow_t5::save(&model(name), &base, None, &target).unwrap();
        let stored = |path: &std::path::Path| {
            let found = candle_core::safetensors::load(path.join("model.safetensors"), &Device::Cpu).unwrap();
            let bits = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let mut found: Vec<_> =
                found.iter().map(|(name, x)| (name.clone(), x.dims().to_vec(), bits(x))).collect();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found
        };
        let (found, wanted) = (stored(&target), stored(&base));
        let names = |tensors: &[(String, Vec<usize>, Vec<f32>)]| {
            tensors.iter().map(|tensor| tensor.0.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&found), names(&wanted), "{name}");
        assert_eq!(names(&found).contains(&"lm_head.weight".into()), name == "tiny-gated");
        assert!(found == wanted, "{name}: other values");
        let json = |folder: &std::path::Path, file: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
        };
        for file in ["config.json", "generation_config.json"] {
            assert_eq!(json(&target, file), json(&base, file));
        }
    }
}

/// The largest difference of logits, over the largest logit.
fn difference(found: &T5, wanted: &T5) -> f32 {
    let [found, wanted] = [found, wanted].map(|model| logits(model, &batch(&rows())).concat());
    let largest = wanted.iter().fold(0f32, |most, x| most.max(x.abs()));
    found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn a_tied_head_that_has_changed_is_saved_as_one_of_its_own() {
    let mut changed = model("tiny-tied");
    changed.untie();
    let head = changed.weights_mut().into_iter().find(|weight| weight.name() == "lm_head.weight").unwrap();
    let moved = (head.value.value() + head.value.value().roll(1, 0).unwrap()).unwrap();
    head.value = Traced::constant(moved);
    // As T5 v1.0's config says it, as transformers 5 does, and with a head that reads what is not scaled.
    for (scales, saved) in [(None, None), (Some(true), Some(false)), (Some(false), Some(false))] {
        let base = written("tiny-tied", &tensors("tiny-tied"));
        let path = base.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if let Some(scales) = scales {
            config["scale_decoder_outputs"] = scales.into();
        }
        std::fs::write(&path, config.to_string()).unwrap();
        let mut model = T5::load(base.path(), &Device::Cpu, DType::F32).unwrap();
        model.untie();
        for (own, other) in model.weights_mut().into_iter().zip(changed.weights_mut()) {
            own.value = other.value.clone();
        }
        let target = base.path().join("saved");
        tallow_t5::save(&model, base.path(), None, &target).unwrap();
        let written: serde_json::Value =
            serde_json::from_slice(&std::fs::read(target.join("config.json")).unwrap()).unwrap();
        assert_eq!(written["tie_word_embeddings"], false, "{scales:?}");
        assert_eq!(written.get("scale_decoder_outputs").and_then(serde_json::Value::as_bool), saved);
        let again = T5::load(&target, &Device::Cpu, DType::F32).unwrap();
        assert!(!again.is_tied() && difference(&again, &model) < 1e-6, "{scales:?}");
    }
}

#[test]
fn a_large_model_is_saved_in_shards() {
    let parent = tempfile::tempdir().unwrap();
    let (target, base) = (parent.path().join("saved"), folder("tiny-gated"));
    let wanted = model("tiny-gated");
    let most = 60_000;
    tallow_t5::save_in_shards(&wanted, &base, None, &target, most).unwrap();
    let files: Vec<String> = listing(&target).into_iter().filter(|name| name.starts_with("model")).collect();
    let shards = files.len() - 1;
    assert!(shards > 2 && files[shards] == "model.safetensors.index.json", "{files:?}");
    assert_eq!(files[0], format!("model-00001-of-{shards:05}.safetensors"));
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(target.join(&files[shards])).unwrap()).unwrap();
    let stored = tensors("tiny-gated");
    let values: usize = stored.values().map(Tensor::elem_count).sum();
    assert_eq!(index["metadata"]["total_size"], 4 * values);
    let map = index["weight_map"].as_object().unwrap();
    assert_eq!(map.len(), stored.len());
    for file in &files[..shards] {
        let shard = candle_core::safetensors::load(target.join(file), &Device::Cpu).unwrap();
        let bytes: usize = shard.values().map(|tensor| 4 * tensor.elem_count()).sum();
        assert!(bytes <= most, "{file}: {bytes}");
        assert!(shard.keys().all(|name| map[name] == file.as_str()), "{file}");
    }
    let again = T5::load(&target, &Device::Cpu, DType::F32).unwrap();
    assert_eq!(logits(&again, &batch(&rows())), logits(&wanted, &batch(&rows())));
}

/// The names in a folder, in order.
fn listing(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn saving_replaces_a_folder_whole() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("saved");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("stale.txt"), "stale").unwrap();
    for other in ["saved.old", "saved.part"] {
        std::fs::create_dir(parent.path().join(other)).unwrap();
    }
    tallow_t5::save(&model("tiny-tied"), &folder("tiny-tied"), None, &target).unwrap();
    assert_eq!(listing(&target), ["config.json", "generation_config.json", "model.safetensors"]);
    assert_eq!(listing(parent.path()), ["saved", "saved.old", "saved.part"], "what others named so stays");
}

#[test]
fn a_failure_leaves_what_was_there() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("saved");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("old.txt"), "old").unwrap();
    let found = message(tallow_t5::save(&model("tiny-tied"), parent.path(), None, &target));
    assert!(found.contains("config.json: No such file"), "{found}");
    assert_eq!(listing(&target), ["old.txt"]);

    let file = parent.path().join("file");
    std::fs::write(&file, "a file").unwrap();
    let found = message(tallow_t5::save(&model("tiny-tied"), &folder("tiny-tied"), None, &file));
    assert_eq!(found, format!("{}: not a directory", file.display()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a file");
}
