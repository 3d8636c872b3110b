//! A run, read from its folder.

mod config;
mod evaluation;
mod facts;
mod log;

use std::path::Path;

pub(crate) use config::differences;
pub(crate) use evaluation::{Evaluation, Evaluations, Prediction};
pub use facts::{Facts, Part};
pub(crate) use log::{Log, Step};

use crate::{Error, Result};

/// The size of what an adapter adds to one layer's weight.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LayerNorm {
    /// The layer's name in the checkpoint: `encoder.block.0.layer.0.SelfAttention.q`.
    pub layer: String,
    /// The Frobenius norm of scale * B * A.
    pub norm: f64,
}

/// A token of the vocabulary that a virtual one lies near to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NearToken {
    /// As the vocabulary writes it.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// The cosine of the angle between the two.
    pub cosine: f64,
}

/// What a run has left.
pub struct Run {
    /// What it is called beside others: its name, or its folder if another has the same name.
    pub label: String,
    pub(crate) folder: String,
    pub(crate) name: String,
    pub(crate) config: toml::Table,
    pub(crate) config_text: String,
    pub(crate) facts: Facts,
    pub(crate) log: Log,
    pub(crate) evaluations: Evaluations,
    pub(crate) before: Vec<Prediction>,
    pub(crate) after: Vec<Prediction>,
    pub(crate) is_trained: bool,
    pub(crate) adapter: Vec<LayerNorm>,
    /// Of each virtual token of a prompt, the tokens nearest to it.
    pub prompt: Vec<Vec<NearToken>>,
}

impl Run {
    /// Reads the files of a run's folder; those that a run need not have may be missing. `adapter` is what its adapter
    /// adds to each layer, empty if it has none; [`Run::prompt`] is empty, for who knows the vocabulary to fill.
    ///
    /// # Errors
    /// If the folder holds no run, or a file of it is broken.
    pub fn read(folder: &Path, adapter: Vec<LayerNorm>) -> Result<Self> {
        let missing = |file, what| move || Error::Missing { folder: folder.to_path_buf(), file, what };
        let config_text = text(&folder.join("config.toml"))?
            .ok_or_else(missing("config.toml", "it is not a run's folder"))?;
        let config = config::parse(&folder.join("config.toml"), &config_text)?;
        let steps = missing("metrics.jsonl", "the run has made no step yet");
        let log = Log::read(&folder.join("metrics.jsonl"))?
            .filter(|log| !log.steps.is_empty())
            .ok_or_else(steps)?;
        let name = config.get("name").and_then(toml::Value::as_str).unwrap_or("run").to_owned();
        Ok(Self {
            label: name.clone(),
            folder: folder.display().to_string(),
            name,
            config,
            config_text,
            facts: json(&folder.join("run.json"))?.unwrap_or_default(),
            log,
            evaluations: json(&folder.join("evaluation.json"))?.unwrap_or_default(),
            before: evaluation::predictions(&folder.join("predictions_before.jsonl"))?,
            after: evaluation::predictions(&folder.join("predictions.jsonl"))?,
            is_trained: folder.join("adapter").is_dir() || folder.join("model").is_dir(),
            adapter,
            prompt: Vec::new(),
        })
    }

    /// The last step that was made.
    pub fn last_step(&self) -> usize {
        self.log.last().step
    }

    /// Gives runs of the same name the name of their folder.
    pub fn tell_apart(runs: &mut [Self]) {
        let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        for run in runs {
            let same = names.iter().filter(|name| **name == run.name).count();
            run.label = if same > 1 { run.folder.clone() } else { run.name.clone() };
        }
    }
}

/// What a file holds, if it is there.
fn text(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path)(error)),
    }
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = text(path)? else { return Ok(None) };
    let value =
        serde_json::from_str(&text).map_err(|error| Error::broken(path, Some(error.line()), error))?;
    Ok(Some(value))
}

/// A value a line. The last line may be half written, where a run is going on.
fn json_lines<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line) {
            Ok(value) => found.push(value),
            Err(error) if error.is_eof() && !line.ends_with('\n') => break,
            Err(error) => return Err(Error::broken(path, Some(index + 1), error)),
        }
    }
    Ok(found)
}
