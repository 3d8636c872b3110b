use serde_json::{Value, json};
use tallow_t5::Config;

use crate::support::{folder, message};

/// tiny-gated's config with `changes`; null removes a key.
fn config(changes: Value) -> tallow_t5::Result<Config> {
    let text = std::fs::read_to_string(folder("tiny-gated").join("config.json")).unwrap();
    let mut config: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => config.remove(key),
            value => config.insert(key.clone(), value.clone()),
        };
    }
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("config.json");
    std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
    Config::from_file(&path)
}

fn refused(changes: Value) -> String {
    let message = message(config(changes));
    let (path, what) = message.split_once("config.json: ").unwrap_or_else(|| panic!("no path: {message}"));
    assert!(!path.is_empty());
    what.to_owned()
}

#[test]
fn what_is_not_a_t5_is_refused() {
    assert_eq!(
        refused(json!({ "model_type": "bart" })),
        "model_type is `bart`; T5 and FLAN-T5 (`t5`) can be trained"
    );
    assert!(refused(json!({ "d_kv": null })).starts_with("not a T5's config: missing field `d_kv`"));
    assert_eq!(
        refused(json!({ "feed_forward_proj": "gated-silu" })),
        "feed_forward_proj is `gated-silu`; known are `relu` and `gated-gelu`"
    );
}

#[test]
fn sizes_of_zero_are_refused() {
    for key in ["vocab_size", "d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers"] {
        assert_eq!(refused(json!({ key: 0 })), format!("{key} is 0"));
    }
    let what = refused(json!({ "relative_attention_num_buckets": 2 }));
    assert!(what.starts_with("2 relative-attention buckets"), "{what}");
}

#[test]
fn values_out_of_range_are_refused() {
    for key in ["pad_token_id", "eos_token_id", "decoder_start_token_id"] {
        assert_eq!(refused(json!({ key: 384 })), format!("{key} is 384, past the vocabulary of 384"));
    }
    assert_eq!(refused(json!({ "dropout_rate": 1.0 })), "dropout_rate is 1, not in [0, 1)");
}

#[test]
fn absent_keys_are_as_in_transformers() {
    let absent = json!({
        "model_type": null, "num_decoder_layers": null, "feed_forward_proj": null, "dropout_rate": null,
        "tie_word_embeddings": null, "relative_attention_num_buckets": null,
        "relative_attention_max_distance": null, "layer_norm_epsilon": null, "decoder_start_token_id": null,
        "num_layers": 3, "pad_token_id": 5,
    });
    let config = config(absent).unwrap();
    assert_eq!((config.num_layers, config.num_decoder_layers), (3, 3));
    assert_eq!(config.activation, tallow_t5::Activation::Relu);
    assert_eq!((config.relative_attention_num_buckets, config.relative_attention_max_distance), (32, 128));
    assert_eq!((config.dropout_rate, config.layer_norm_epsilon), (0.1, 1e-6));
    assert!(config.tie_word_embeddings && config.scale_decoder_outputs);
    assert_eq!(config.decoder_start_token_id, 5);
}
