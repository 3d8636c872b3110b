//! LoRA's and DoRA's adapter_config.json.

use serde_json::{Map, Value, json};
use tallow_t5::T5;

use super::{LoraOptions, LoraStart};
use crate::file::{ConfigFile, map, whole};
use crate::{DoraOptions, Method, Result, TargetModules};

/// Keys of peft's LoRA config that ask for more than there is here.
const UNSUPPORTED: [&str; 12] = [
    "alora_invocation_tokens",
    "arrow_config",
    "bias",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];

/// Values of init_lora_weights, or their beginnings, that leave another base behind than the one they started
/// from.
const CHANGE_THE_BASE: [&str; 5] = ["corda", "loftq", "lora_ga", "olora", "pissa"];

/// Keys that change nothing about an adapter that is trained.
const HARMLESS: [&str; 9] = [
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "init_lora_weights",
    "loftq_config",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "qalora_group_size",
];

pub(crate) fn read(config: &ConfigFile) -> Result<Method> {
    config.refuse(&UNSUPPORTED)?;
    config.harmless(&HARMLESS);
    // These take part of the base's weights out of them, so the adapter alone is not the model.
    let initial = config.text("init_lora_weights").unwrap_or_default();
    if CHANGE_THE_BASE.iter().any(|kind| initial.to_lowercase().starts_with(kind)) {
        let what = "which changes the base: save it converted to a plain LoRA";
        return Err(config.fail(format!("init_lora_weights is {initial}, {what}")));
    }
    let rank = config.number("r")?;
    if !(rank >= 1.0 && rank.fract() == 0.0) {
        return Err(config.fail(format!("r is {rank}; a rank is a whole number from 1")));
    }
    let dropout = config.optional_number("lora_dropout")?.unwrap_or(0.0);
    if !(0.0..1.0).contains(&dropout) {
        return Err(config.fail(format!("lora_dropout is {dropout}, not in [0, 1)")));
    }
    let layers = match config.get("layers_to_transform") {
        Some(layer @ Value::Number(_)) => {
            // As for the rank, 3.0 is a whole number.
            let whole = layer.as_f64().filter(|layer| *layer >= 0.0 && layer.fract() == 0.0);
            let what =
                || config.fail(format!("layers_to_transform is {layer}; expected the number of a layer"));
            vec![whole.ok_or_else(what)? as usize]
        }
        _ => config.parsed("layers_to_transform", "the numbers of layers")?.unwrap_or_default(),
    };
    let layers_pattern = match config.get("layers_pattern") {
        Some(Value::Array(items)) if items.len() == 1 => items[0].as_str().unwrap_or_default().to_owned(),
        Some(Value::Array(items)) if items.len() > 1 => {
            return Err(config.fail("layers_pattern has several patterns; one can be read".to_owned()));
        }
        _ => config.text("layers_pattern").unwrap_or_default(),
    };
    let tokens = match config.get("trainable_token_indices") {
        Some(Value::Object(map)) if map.len() == 1 && map.contains_key("embed_tokens") => {
            config.parse("trainable_token_indices", &map["embed_tokens"], "lists of tokens")?
        }
        Some(Value::Array(tokens)) if tokens.is_empty() => Vec::new(),
        None => Vec::new(),
        Some(_) => {
            let what = "trainable_token_indices are not those of `embed_tokens` alone: peft ties rows of `shared` to the \
                        head's, also where the head is its own; train {\"embed_tokens\": [...]}";
            return Err(config.fail(what.to_owned()));
        }
    };
    let options = LoraOptions {
        rank: rank as usize,
        alpha: config.number("lora_alpha")?,
        dropout,
        target_modules: config.required_targets()?,
        exclude_modules: config.targets("exclude_modules")?,
        layers_pattern: if layers.is_empty() { "block".to_owned() } else { layers_pattern },
        layers,
        rank_pattern: config.parsed("rank_pattern", "ranks by pattern")?.unwrap_or_default(),
        alpha_pattern: config.parsed("alpha_pattern", "numbers by pattern")?.unwrap_or_default(),
        modules_to_save: config.parsed("modules_to_save", "a list of names")?.unwrap_or_default(),
        trainable_token_indices: tokens,
        use_rslora: config.is_on("use_rslora"),
        init_lora_weights: LoraStart::Kaiming,
        loraplus_lr_ratio: 1.0,
    };
    let method = match config.is_on("use_dora") {
        true => Method::Dora(DoraOptions(options)),
        false => Method::Lora(options),
    };
    config.check(method)
}

/// peft takes numbers of layers beside lists of names alone: of a pattern, the layers that it comes to are listed.
pub(crate) fn as_peft_allows(options: &LoraOptions, model: &T5) -> LoraOptions {
    let mut options = options.clone();
    if matches!(options.target_modules, TargetModules::Pattern(_)) && !options.layers.is_empty() {
        // The method is hooked to the model, so that its targets are there.
        let targets = options.targets(model).unwrap_or_default();
        options.target_modules =
            TargetModules::Suffixes(targets.into_iter().map(|target| target.name).collect());
        (options.layers, options.exclude_modules) = (Vec::new(), None);
    }
    options
}

/// Every key of peft's config that is LoRA's own.
pub(crate) fn config(options: &LoraOptions, use_dora: bool) -> Map<String, Value> {
    // What a method took out of the base is put back in its file, at twice the rank.
    let factor = if options.init_lora_weights.takes_from_the_weight() { 2 } else { 1 };
    let alpha_factor = match (factor, options.use_rslora) {
        (2, true) => 2f64.sqrt(),
        (factor, _) => factor as f64,
    };
    let or_null = |empty: bool, value: Value| if empty { Value::Null } else { value };
    let layers = options.layers.is_empty();
    let rank_pattern: Map<String, Value> =
        options.rank_pattern.iter().map(|(key, rank)| (key.clone(), json!(rank * factor))).collect();
    let alpha_pattern: Map<String, Value> =
        options.alpha_pattern.iter().map(|(key, alpha)| (key.clone(), whole(alpha * alpha_factor))).collect();
    map(json!({
        "alora_invocation_tokens": null,
        "alpha_pattern": alpha_pattern,
        "arrow_config": null,
        "bias": "none",
        "corda_config": null,
        "ensure_weight_tying": false,
        "eva_config": null,
        "exclude_modules": options.exclude_modules,
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "kasa_config": null,
        "layer_replication": null,
        "layers_pattern": or_null(layers || options.layers_pattern.is_empty(), json!(options.layers_pattern)),
        "layers_to_transform": or_null(layers, json!(options.layers)),
        "loftq_config": {},
        "lora_alpha": whole(options.alpha * alpha_factor),
        "lora_bias": false,
        "lora_dropout": options.dropout,
        "lora_ga_config": null,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": or_null(options.modules_to_save.is_empty(), json!(options.modules_to_save)),
        "monteclora_config": null,
        "peft_type": "LORA",
        "qalora_group_size": 16,
        "r": options.rank * factor,
        "rank_pattern": rank_pattern,
        "target_modules": options.target_modules,
        "target_parameters": null,
        "trainable_token_indices": or_null(
            options.trainable_token_indices.is_empty(),
            json!({ "embed_tokens": options.trainable_token_indices }),
        ),
        "use_bdlora": null,
        "use_dora": use_dora,
        "use_qalora": false,
        "use_rslora": options.use_rslora,
        "velora_config": null,
    }))
}
