//! Adapters on disk, in the format of Hugging Face's peft, and of AdapterHub for bottleneck adapters.

mod card;
mod config;
mod layout;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use tallow_t5::folder;
use tallow_t5::tensors::{self, Tensors};

use self::card::{Python, card};
pub(crate) use self::config::ConfigFile;
pub(crate) use self::layout::{Form, Layout, Place, Plain, Stored};
use crate::kind::Trained;
use crate::{
    Adapted, BottleneckOptions, Error, Ia3Options, Method, PrefixOptions, PromptOptions, Result,
    SelectiveOptions, lora,
};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// AdapterHub's name for the file, and the name that a bottleneck adapter is given.
const ADAPTERHUB_WEIGHTS: &str = "adapter.safetensors";
const ADAPTERHUB_PICKLE: &str = "pytorch_adapter.bin";
pub(crate) const ADAPTER_NAME: &str = "tallow";

/// The peft version whose format is written.
const PEFT_VERSION: &str = "0.21.2";

/// An adapter's folder: its config read, its tensors mapped.
pub struct AdapterFile {
    path: PathBuf,
    tensors: Tensors,
    /// The names of tensors that the file has otherwise than they are written here.
    renamed: BTreeMap<String, String>,
    /// The method that the config describes.
    pub method: Method,
    /// The base that the config names.
    pub base: Option<BaseName>,
    /// Keys of the config that are not known and change nothing that is known to matter, with their values.
    pub unknown: Vec<String>,
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
        let config = ConfigFile::open(&folder.join(CONFIG))?;
        let of_adapterhub = config.get("peft_type").is_none();
        match config.within("config").filter(|_| of_adapterhub) {
            Some(bottleneck) => Self::of_adapterhub(folder, &config, &bottleneck),
            None => Self::of_peft(folder, &config),
        }
    }

    fn of_peft(folder: &Path, config: &ConfigFile) -> Result<Self> {
        let kind = config.required_text("peft_type")?;
        let method = match kind.as_str() {
            "LORA" => lora::read(config)?,
            "IA3" => {
                config.harmless(&["init_ia3_weights"]);
                config.refuse(&["exclude_modules", "fan_in_fan_out", "modules_to_save"])?;
                Method::Ia3(Ia3Options::read(config)?)
            }
            "PROMPT_TUNING" => Method::Prompt(PromptOptions::read(config)?),
            "PREFIX_TUNING" | "TALLOW_PREFIX" => Method::Prefix(PrefixOptions::read(config)?),
            "LN_TUNING" => Method::Selective(SelectiveOptions::read_norms(config)?),
            "TALLOW_SELECTIVE" => Method::Selective(SelectiveOptions::read(config)?),
            _ => {
                let known = "LORA, IA3, PROMPT_TUNING, PREFIX_TUNING and LN_TUNING can be read";
                return Err(config.fail(format!("peft_type is {kind}; {known}")));
            }
        };
        let base = config.text("base_model_name_or_path");
        let base = base.map(|name| BaseName { name, revision: config.text("revision") });
        let path = folder.join(WEIGHTS);
        let (tensors, unknown) = (Tensors::open([path.clone()])?, config.unknown()?);
        Ok(Self { path, tensors, renamed: BTreeMap::new(), method, base, unknown })
    }

    fn of_adapterhub(folder: &Path, config: &ConfigFile, bottleneck: &ConfigFile) -> Result<Self> {
        let method = Method::Bottleneck(BottleneckOptions::read(bottleneck)?);
        let unknown = bottleneck.unknown()?;
        let name = config.required_text("name")?;
        let [path, pickle] = [ADAPTERHUB_WEIGHTS, ADAPTERHUB_PICKLE].map(|file| folder.join(file));
        let path = if !path.is_file() && pickle.is_file() { pickle } else { path };
        let tensors = Tensors::open([path.clone()])?;
        // Each name has the adapter's own in it.
        let part = format!(".adapters.{name}.");
        let ours = format!(".adapters.{ADAPTER_NAME}.");
        let renamed = tensors.shapes().map(|(found, _)| (found.replace(&part, &ours), found.to_owned()));
        let renamed = renamed.filter(|(ours, found)| ours != found).collect();
        let base = config.text("model_name").map(|name| BaseName { name, revision: None });
        Ok(Self { path, tensors, renamed, method, base, unknown })
    }

    /// The number of its values.
    pub fn parameters(&self) -> usize {
        self.tensors.shapes().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Every tensor's name and shape, in order.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.shapes()
    }

    /// A tensor as it lies in the file, in f32.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.tensors.get(name, &Device::Cpu, DType::F32)?)
    }

    fn in_file<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }

    /// The tensors that a layout wants, in order; any other tensor is an error, as is one that is missing or misshapen.
    pub(crate) fn take(&self, layout: &dyn Layout) -> Result<Vec<Tensor>> {
        let wanted: Vec<Stored> = layout.stored();
        let by_name: BTreeMap<&str, &[usize]> =
            wanted.iter().map(|(name, shape)| (self.in_file(name), shape.as_slice())).collect();
        let mut problems = Vec::new();
        for (name, shape) in &wanted {
            let name = self.in_file(name);
            match self.tensors.shape(name) {
                None => problems.push(format!("missing: {name} {shape:?}")),
                Some(found) if found != shape => {
                    problems.push(format!("misshapen: {name} is {found:?}, expected {shape:?}"));
                }
                Some(_) => {}
            }
        }
        let stray =
            self.tensors.shapes().filter(|(name, _)| !by_name.contains_key(name) && !layout.is_beside(name));
        problems.extend(stray.map(|(name, shape)| format!("stray: {name} {shape:?}")));
        if !problems.is_empty() {
            return Err(Error::Tensors { path: self.path.clone(), problems });
        }
        wanted.iter().map(|(name, _)| self.tensor(self.in_file(name))).collect()
    }
}

/// The name of a module's tensor in peft's files.
pub(crate) fn prefixed(name: &str) -> String {
    format!("base_model.model.{name}")
}

/// The object that a JSON value is.
pub(crate) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it is written as an object"),
    }
}

/// A whole number without its point, as peft writes it.
pub(crate) fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}

/// The keys of every kind of peft's, and the kind's own, sorted as peft sorts them.
fn pefts(own: Map<String, Value>, base: &BaseName) -> Map<String, Value> {
    let mut config = map(json!({
        "auto_mapping": null,
        "base_model_name_or_path": base.name,
        "inference_mode": true,
        "peft_version": PEFT_VERSION,
        "revision": base.revision,
        "task_type": "SEQ_2_SEQ_LM",
    }));
    config.extend(own);
    config.sort_keys();
    config
}

/// Writes what was trained; a folder that is there already is replaced whole.
pub(crate) fn write(adapted: &Adapted, folder: &Path, base: &BaseName) -> Result<()> {
    let own = adapted.method.kind().config(&adapted.model);
    put(&adapted.method, own, &adapted.tensors()?, adapted.parameters.trainable(), folder, base)
}

/// Writes an adapter's three files, `own` the keys of its kind, `tensors` by their names in the file; a folder that is there
/// already is replaced whole.
pub(crate) fn put(
    method: &Method,
    own: Map<String, Value>,
    tensors: &[(String, Tensor)],
    trainable: usize,
    folder: &Path,
    base: &BaseName,
) -> Result<()> {
    let (config, weights, python) = match own.get("peft_type").and_then(Value::as_str) {
        Some("TALLOW_SELECTIVE") => (pefts(own, base), WEIGHTS, Python::Weights),
        Some("TALLOW_PREFIX") => (pefts(own, base), WEIGHTS, Python::Nothing),
        Some(_) => (pefts(own, base), WEIGHTS, Python::Peft),
        None => {
            let mut config = own;
            config.insert("model_name".to_owned(), json!(base.name));
            config.sort_keys();
            (config, ADAPTERHUB_WEIGHTS, Python::Adapters)
        }
    };
    folder::replace(folder, |beside| {
        let put = |name: &str, text: String| {
            let path = beside.join(name);
            std::fs::write(&path, text).map_err(Error::file(&path))
        };
        let text = serde_json::to_string_pretty(&Value::Object(config)).expect("a JSON value is text");
        put(CONFIG, text)?;
        put("README.md", card(method, &python, base, trainable))?;
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        Ok(tensors::write(&beside.join(weights), named)?)
    })
}
