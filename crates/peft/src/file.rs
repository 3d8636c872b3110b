//! Adapters on disk, in the format of Hugging Face's peft.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tallow_ops::{ParameterSpec, Parameters};
use tallow_t5::folder;
use tallow_t5::tensors::{self, Tensors};

use crate::{Error, LoraOptions, Method, Result, TargetModules};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// The peft version whose format is written.
const PEFT_VERSION: &str = "0.21.2";

/// An adapter's folder: its config read, its tensors mapped.
pub struct AdapterFile {
    path: PathBuf,
    tensors: Tensors,
    /// The method that the config describes.
    pub method: Method,
    /// The base that the config names.
    pub base: Option<BaseName>,
}

/// What an adapter's config calls its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseName {
    /// A folder, or a model of the Hub, as `google/flan-t5-small`.
    pub name: String,
    /// Of a model of the Hub: which one, if not the newest.
    pub revision: Option<String>,
}

impl From<&Path> for BaseName {
    fn from(folder: &Path) -> Self {
        Self { name: folder.to_string_lossy().into_owned(), revision: None }
    }
}

/// Whether a folder holds an adapter.
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

impl std::fmt::Debug for AdapterFile {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("AdapterFile").field("path", &self.path).field("method", &self.method).finish()
    }
}

impl AdapterFile {
    /// Opens an adapter's folder.
    ///
    /// # Errors
    /// If a file is missing or broken, or the adapter is of a kind that is not known here.
    pub fn open(folder: &Path) -> Result<Self> {
        let (method, base) = read_config(&folder.join(CONFIG))?;
        let path = folder.join(WEIGHTS);
        Ok(Self { tensors: Tensors::open([path.clone()])?, path, method, base })
    }

    /// The number of its values.
    pub fn parameters(&self) -> usize {
        self.tensors.shapes().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The adapted layers, in order.
    pub(crate) fn layers(&self) -> Vec<String> {
        let mut layers: Vec<String> =
            self.tensors.shapes().filter_map(|(name, _)| crate::lora::layer(name)).collect();
        layers.dedup();
        layers
    }

    /// A tensor as it lies in the file, in f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.tensors.get(name, &Device::Cpu, DType::F32)?)
    }

    /// The tensors of these names and shapes, in order; any other tensor is an error, as is one that is
    /// missing or misshapen.
    pub(crate) fn take(
        &self,
        wanted: impl Iterator<Item = (String, [usize; 2])>,
    ) -> Result<Vec<ParameterSpec>> {
        let wanted: Vec<(String, [usize; 2])> = wanted.collect();
        let by_name: BTreeMap<&str, &[usize; 2]> =
            wanted.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
        let mut problems = Vec::new();
        for (name, shape) in &wanted {
            match self.tensors.shape(name) {
                None => problems.push(format!("missing: {name} {shape:?}")),
                Some(found) if found != shape => {
                    problems.push(format!("misshapen: {name} is {found:?}, expected {shape:?}"));
                }
                Some(_) => {}
            }
        }
        let stray = self.tensors.shapes().filter(|(name, _)| !by_name.contains_key(name));
        problems.extend(stray.map(|(name, shape)| format!("stray: {name} {shape:?}")));
        if !problems.is_empty() {
            return Err(Error::Tensors { path: self.path.clone(), problems });
        }
        let spec = |(name, _): (String, [usize; 2])| {
            let value = self.tensors.get(&name, &Device::Cpu, DType::F32)?;
            Ok(ParameterSpec::new(name, value))
        };
        wanted.into_iter().map(spec).collect()
    }
}

fn read_config(path: &Path) -> Result<(Method, Option<BaseName>)> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let fail = |what: String| Error::Config { path: path.to_path_buf(), what };
    let config: serde_json::Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| fail(format!("not a JSON object: {error}")))?;
    let get = |key: &str| config.get(key).filter(|value| !value.is_null());
    let missing = |key: &str| fail(format!("there is no {key}"));
    let number = |key: &str| {
        let value = get(key).ok_or_else(|| missing(key))?;
        value.as_f64().ok_or_else(|| fail(format!("{key} is {value}, which is not a number")))
    };
    let kind = get("peft_type").and_then(Value::as_str).ok_or_else(|| missing("peft_type"))?;
    if kind != "LORA" {
        return Err(fail(format!("peft_type is {kind}; adapters of type LORA can be read")));
    }
    // What changes the mathematics of a plain LoRA must not be passed over in silence.
    let off = |value: &Value| match value {
        Value::Bool(on) => !on,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::String(text) => text == "none",
        _ => false,
    };
    let others = UNSUPPORTED.iter().filter(|key| get(key).is_some_and(|value| !off(value)));
    let others: Vec<&str> = others.copied().collect();
    if !others.is_empty() {
        return Err(fail(format!("uses {}, which cannot be read", others.join(", "))));
    }
    // These take part of the base's weights out of them, so the adapter alone is not the model.
    let initial = get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
    if CHANGE_THE_BASE.iter().any(|kind| initial.to_lowercase().starts_with(kind)) {
        let what = "which changes the base: save it converted to a plain LoRA";
        return Err(fail(format!("init_lora_weights is {initial}, {what}")));
    }
    let targets = get("target_modules").ok_or_else(|| missing("target_modules"))?;
    let target_modules: TargetModules = serde_json::from_value(targets.clone())
        .map_err(|_| fail("target_modules is neither a list of names nor a pattern".into()))?;
    let rank = number("r")?;
    if !(rank >= 1.0 && rank.fract() == 0.0) {
        return Err(fail(format!("r is {rank}; a rank is a whole number from 1")));
    }
    let dropout = get("lora_dropout").map_or(Ok(0.0), |_| number("lora_dropout"))?;
    if !(0.0..1.0).contains(&dropout) {
        return Err(fail(format!("lora_dropout is {dropout}, not in [0, 1)")));
    }
    let method = Method::Lora(LoraOptions {
        rank: rank as usize,
        alpha: number("lora_alpha")?,
        dropout,
        target_modules,
        use_rslora: get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
    });
    let text = |key: &str| get(key).and_then(Value::as_str).map(str::to_owned);
    let base = text("base_model_name_or_path").map(|name| BaseName { name, revision: text("revision") });
    Ok((method, base))
}

/// Keys of peft's LoRA config that ask for more than the plain method.
const UNSUPPORTED: [&str; 18] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "bias",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
];

/// Values of init_lora_weights, or their beginnings, that leave another base behind than the one they started
/// from.
const CHANGE_THE_BASE: [&str; 5] = ["corda", "loftq", "lora_ga", "olora", "pissa"];

/// Every key of peft's config, sorted as peft sorts them.
fn config(options: &LoraOptions, base: &BaseName) -> Value {
    json!({
        "alora_invocation_tokens": null,
        "alpha_pattern": {},
        "arrow_config": null,
        "auto_mapping": null,
        "base_model_name_or_path": base.name,
        "bias": "none",
        "corda_config": null,
        "ensure_weight_tying": false,
        "eva_config": null,
        "exclude_modules": null,
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "kasa_config": null,
        "layer_replication": null,
        "layers_pattern": null,
        "layers_to_transform": null,
        "loftq_config": {},
        "lora_alpha": whole(options.alpha),
        "lora_bias": false,
        "lora_dropout": options.dropout,
        "lora_ga_config": null,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": null,
        "monteclora_config": null,
        "peft_type": "LORA",
        "peft_version": PEFT_VERSION,
        "qalora_group_size": 16,
        "r": options.rank,
        "rank_pattern": {},
        "revision": base.revision,
        "target_modules": options.target_modules,
        "target_parameters": null,
        "task_type": "SEQ_2_SEQ_LM",
        "trainable_token_indices": null,
        "use_bdlora": null,
        "use_dora": false,
        "use_qalora": false,
        "use_rslora": options.use_rslora,
        "velora_config": null,
    })
}

/// A whole number without its point, as peft writes it.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}

fn card(options: &LoraOptions, base: &BaseName, trainable: usize) -> String {
    let BaseName { name: base, revision } = base;
    let at = revision.as_ref().map_or(String::new(), |revision| format!(", revision=\"{revision}\""));
    format!(
        "---\nbase_model: {base}\nlibrary_name: peft\ntags:\n- lora\n- text2text-generation\n---\n\n\
         # LoRA adapter for {base}\n\n\
         Rank {}, alpha {}{}, on {}: {trainable} trained parameters.\n\n\
         ```python\n\
         from peft import PeftModel\n\
         from transformers import AutoModelForSeq2SeqLM\n\n\
         base = AutoModelForSeq2SeqLM.from_pretrained(\"{base}\"{at})\n\
         model = PeftModel.from_pretrained(base, \"path/to/this/folder\")\n\
         ```\n",
        options.rank,
        options.alpha,
        if options.use_rslora { " (rank-stabilised)" } else { "" },
        match &options.target_modules {
            TargetModules::Suffixes(names) => names.join(", "),
            TargetModules::Pattern(pattern) => format!("`{pattern}`"),
        },
    )
}

/// Writes an adapter's three files; a folder that is there already is replaced whole.
pub(crate) fn write(
    parameters: &Parameters,
    options: &LoraOptions,
    folder: &Path,
    base: &BaseName,
) -> Result<()> {
    folder::replace(folder, |beside| {
        let put = |name: &str, text: String| {
            let path = beside.join(name);
            std::fs::write(&path, text).map_err(Error::file(&path))
        };
        let text = serde_json::to_string_pretty(&config(options, base)).expect("a JSON value is text");
        put(CONFIG, text)?;
        put("README.md", card(options, base, parameters.trainable()))?;
        let views: Vec<Tensor> = (0..parameters.entries().len()).map(|i| parameters.value(i)).collect();
        let named = parameters.entries().iter().map(|entry| entry.name.as_str()).zip(&views);
        Ok(tensors::write(&beside.join(WEIGHTS), named)?)
    })
}
