use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tallow_peft::{Adapted, AdapterFile, LoraOptions, Method, TargetModules};

use crate::support::{base, lora, message, model, moved, options, values};

const LAYER: &str = "base_model.model.encoder.block.0.layer.0.SelfAttention";

/// A saved adapter's folder, its config changed: null stays null.
fn adapter(changes: Value) -> tempfile::TempDir {
    let parent = tempfile::tempdir().unwrap();
    moved(lora(&options(), 1)).save(&parent.path().join("adapter"), &base(), None).unwrap();
    let path = parent.path().join("adapter/adapter_config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(&path, config.to_string()).unwrap();
    parent
}

fn open(parent: &Path) -> tallow_peft::Result<AdapterFile> {
    AdapterFile::open(&parent.join("adapter"))
}

fn load(parent: &Path) -> tallow_peft::Result<Adapted> {
    Adapted::load(model(), &parent.join("adapter"))
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let parent = adapter(json!({}));
    let path = parent.path().join("adapter/adapter_model.safetensors");
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    tensors.remove(&format!("{LAYER}.q.lora_B.weight"));
    tensors.remove(&format!("{LAYER}.v.lora_A.weight"));
    tensors.insert(format!("{LAYER}.q.lora_A.weight"), zeros((3, 32)));
    tensors.insert(format!("{LAYER}.k.lora_A.weight"), zeros((4, 32)));
    tensors.insert("base_model.model.lm_head.lora_A.weight".into(), zeros((4, 32)));
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let found = message(load(parent.path()));
    let mut lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.remove(0), format!("{} is not an adapter of this model:", path.display()));
    assert_eq!(
        lines,
        [
            &format!("  - misshapen: {LAYER}.q.lora_A.weight is [3, 32], expected [4, 32]"),
            &format!("  - missing: {LAYER}.q.lora_B.weight [32, 4]"),
            &format!("  - missing: {LAYER}.v.lora_A.weight [4, 32]"),
            &format!("  - stray: {LAYER}.k.lora_A.weight [4, 32]"),
            "  - stray: base_model.model.lm_head.lora_A.weight [4, 32]",
        ]
    );
}

#[test]
fn a_rank_that_is_not_the_tensors_is_refused() {
    let found = message(load(adapter(json!({ "r": 8 })).path()));
    let lines: Vec<&str> = found.lines().skip(1).collect();
    let (more, listed) = lines.split_last().unwrap();
    assert!(listed.iter().all(|line| line.starts_with("  - misshapen: ")), "{found}");
    assert_eq!(*more, format!("  and {} more", 24 - listed.len()), "{found}");
}

/// What an adapter_config.json with `changes` is refused for.
fn refused(changes: Value) -> String {
    let parent = adapter(changes);
    let found = message(open(parent.path()));
    let path = format!("{}: ", parent.path().join("adapter/adapter_config.json").display());
    found.strip_prefix(&path).unwrap_or_else(|| panic!("no path: {found}")).to_owned()
}

#[test]
fn what_the_config_asks_beyond_plain_lora_is_refused() {
    let changes = json!({
        "bias": "lora_only",
        "layer_replication": [[0, 1]],
        "use_qalora": true,
        "kasa_config": { "beta": 1e-4 },
    });
    assert_eq!(
        refused(changes),
        "uses bias, kasa_config, layer_replication, use_qalora, which cannot be read"
    );
    for kind in ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"] {
        let found = refused(json!({ "init_lora_weights": kind }));
        let wanted = "which changes the base: save it converted to a plain LoRA";
        assert_eq!(found, format!("init_lora_weights is {kind}, {wanted}"));
    }
    assert_eq!(
        refused(json!({ "peft_type": "VERA" })),
        "peft_type is VERA; LORA, IA3, PROMPT_TUNING, PREFIX_TUNING and LN_TUNING can be read"
    );
    // Of a peft that is newer than what is known here.
    for changes in
        [json!({ "use_later": true }), json!({ "use_later": { "rate": 2 } }), json!({ "use_later": [1] })]
    {
        assert_eq!(
            refused(changes),
            "uses use_later, which is not known here and may change what the adapter computes"
        );
    }
}

#[test]
fn keys_that_are_not_known_and_turn_nothing_on_are_told() {
    let changes = json!({ "later_number": 3, "later_name": "x", "later_switch": false, "later_list": [], "later_null": null });
    let file = open(adapter(changes).path()).unwrap();
    assert_eq!(file.unknown, ["later_number = 3", "later_name = \"x\""]);
}

#[test]
fn what_changes_nothing_is_read() {
    for changes in [
        json!({ "init_lora_weights": "gaussian", "modules_to_save": [], "layer_replication": null }),
        json!({ "init_lora_weights": false, "alpha_pattern": {}, "bias": "none", "use_dora": null }),
        json!({ "some_later_key": 3, "task_type": null, "lora_dropout": null, "use_rslora": null }),
    ] {
        assert!(
            matches!(open(adapter(changes).path()).unwrap().method, Method::Lora(found) if found == options())
        );
    }
}

#[test]
fn values_that_are_no_settings_are_refused() {
    for (changes, wanted) in [
        (json!({ "r": 2.5 }), "r is 2.5; a rank is a whole number from 1"),
        (json!({ "r": 0 }), "r is 0; a rank is a whole number from 1"),
        (json!({ "r": "8" }), r#"r is "8", which is not a number"#),
        (json!({ "r": null }), "there is no r"),
        (json!({ "lora_alpha": null }), "there is no lora_alpha"),
        (json!({ "layers_to_transform": -1 }), "layers_to_transform is -1; expected the number of a layer"),
        (json!({ "layers_to_transform": 0.5 }), "layers_to_transform is 0.5; expected the number of a layer"),
        (
            json!({ "layers_to_transform": ["a"] }),
            r#"layers_to_transform is ["a"]; expected the numbers of layers"#,
        ),
        (json!({ "lora_dropout": 1.0 }), "lora_dropout is 1, not in [0, 1)"),
        (json!({ "target_modules": null }), "there is no target_modules"),
        (json!({ "target_modules": 3 }), "target_modules is neither a list of names nor a pattern"),
        (json!({ "peft_type": null }), "there is no peft_type"),
        (
            json!({ "trainable_token_indices": [5, 7] }),
            "trainable_token_indices are not those of `embed_tokens` alone: peft ties rows of `shared` to the head's, also \
             where the head is its own; train {\"embed_tokens\": [...]}",
        ),
    ] {
        assert_eq!(refused(changes), wanted);
    }
    let parent = adapter(json!({}));
    std::fs::write(parent.path().join("adapter/adapter_config.json"), "{\"r\": 4,").unwrap();
    assert!(
        message(open(parent.path())).contains("adapter_config.json: not a JSON object: EOF while parsing")
    );
}

#[test]
fn missing_and_broken_files_are_named() {
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        let parent = adapter(json!({}));
        let path = parent.path().join("adapter").join(file);
        std::fs::remove_file(&path).unwrap();
        let found = message(open(parent.path()));
        assert!(found.starts_with(&format!("{}: No such file", path.display())), "{found}");
    }
    let parent = adapter(json!({}));
    let path = parent.path().join("adapter/adapter_model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    let found = message(open(parent.path()));
    assert!(found.starts_with(&format!("{}: the file is cut short", path.display())), "{found}");
}

#[test]
fn options_come_back_from_the_file() {
    let suffixes = |names: &[&str]| TargetModules::Suffixes(names.iter().map(|&name| name.into()).collect());
    for options in [
        options(),
        LoraOptions { alpha: 2.5, dropout: 0.05, use_rslora: true, ..options() },
        LoraOptions { rank: 3, target_modules: suffixes(&["wo", "EncDecAttention.k"]), ..options() },
        LoraOptions {
            target_modules: TargetModules::Pattern(r"decoder\.block\.\d\.layer\.1\..*\.(k|o)".into()),
            ..options()
        },
        LoraOptions { target_modules: TargetModules::Pattern("all-linear".into()), ..options() },
    ] {
        let parent = tempfile::tempdir().unwrap();
        let adapted = moved(lora(&options, 1));
        adapted.save(&parent.path().join("adapter"), &base(), None).unwrap();
        let loaded = load(parent.path()).unwrap();
        assert_eq!(loaded.method, Method::Lora(options));
        assert_eq!(values(&loaded), values(&adapted));
        let moments = loaded.parameters.state().narrow(0, loaded.parameters.buffer_len(), 1).unwrap();
        assert_eq!(moments.to_vec1::<f32>().unwrap(), [0.0], "a loaded adapter has no moments");
    }
}

#[test]
fn rows_of_tokens_are_those_of_both_stacks() {
    let parent = tempfile::tempdir().unwrap();
    let options = LoraOptions { trainable_token_indices: vec![7, 39], ..options() };
    moved(lora(&options, 1)).save(&parent.path().join("adapter"), &base(), None).unwrap();
    assert_eq!(load(parent.path()).unwrap().method, Method::Lora(options));
    let path = parent.path().join("adapter/adapter_model.safetensors");
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let [encoder, decoder] = ["encoder", "decoder"]
        .map(|stack| format!("base_model.model.{stack}.embed_tokens.token_adapter.trainable_tokens_delta"));
    assert_eq!(tensors[&encoder].to_vec2::<f32>().unwrap(), tensors[&decoder].to_vec2::<f32>().unwrap());
    tensors.insert(decoder.clone(), (&tensors[&encoder] * 2.0).unwrap());
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let found = message(load(parent.path()));
    assert_eq!(found, format!("{encoder} and {decoder} differ, which here are rows of one table"));
}
