//! The config file of a run.

mod check;
mod compute;
mod files;
mod load;
mod method;
mod overrides;
mod problems;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallow_data::Newlines;
use tallow_hub::{Name, is_name};
use tallow_peft::Method;
use tallow_t5::GenerationOptions;
use tallow_train::{Scores, TrainingOptions};

pub use compute::{ComputeOptions, KernelChoice, Place, Precision};
pub use files::{Reads, file_problem, model_problem, repository_problem, rows_problem};
pub use load::{load, load_reading, read};
pub use method::method;
pub use problems::{Invalid, Problem, Problems};
pub use template::TemplateChoice;

pub use crate::cores::threads;

/// One run, as its TOML file describes it. Paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The run's name: its folder is `output`/`name`.
    pub name: String,
    /// Where run folders go.
    #[serde(default = "default_output")]
    pub output: PathBuf,
    /// Of initial values, batches, dropout and splits.
    #[serde(default)]
    pub seed: u64,
    /// Threads; 0 takes one for each core.
    #[serde(default)]
    pub threads: usize,
    /// Where it computes: `auto`, `cpu`, `cuda:0`, `metal`.
    #[serde(default)]
    pub device: Place,
    /// In which type: `auto`, `f32`, `bf16`.
    #[serde(default)]
    pub dtype: Precision,
    /// On a GPU, round the operands of f32 products to TF32.
    #[serde(default)]
    pub tf32: bool,
    /// Which kernels compute on a GPU: `verified`, `all`, `composed`.
    #[serde(default)]
    pub kernels: KernelChoice,
    /// Whether figures are written for TensorBoard as well.
    #[serde(default = "yes")]
    pub tensorboard: bool,
    /// The base model.
    pub model: ModelOptions,
    /// How it is fine-tuned.
    #[serde(default)]
    pub method: Method,
    /// How it is trained.
    #[serde(default)]
    pub training: TrainingOptions,
    /// How it is measured.
    #[serde(default)]
    pub evaluation: EvaluationOptions,
    /// What it is trained on. One task can be trained.
    pub task: Vec<TaskOptions>,
}

/// The base model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOptions {
    /// A Hugging Face model folder, here or on the Hub: config.json, model.safetensors or its shards, tokenizer.json.
    pub path: PathBuf,
    /// The tokenizer.json, if it is not in the model's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

impl ModelOptions {
    /// The tokenizer's file.
    pub fn tokenizer_file(&self) -> PathBuf {
        self.tokenizer.clone().unwrap_or_else(|| self.path.join("tokenizer.json"))
    }
}

/// One task: rows, and the template that makes prompts and targets of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOptions {
    /// The task's name in messages.
    pub name: String,
    /// Rows to train on: a file, or a pattern of file names.
    pub train: PathBuf,
    /// Rows for the validation loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Or: the share of the training rows that is held out for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_fraction: Option<f64>,
    /// Rows for the final figures; without, those of the validation are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Columns of the test rows that hold references, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Columns under the names that the template wants: those to the names that they have in the files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// A template set's name, or a prompt and a target.
    pub template: TemplateChoice,
    /// What line breaks become, which the vocabulary does not have.
    #[serde(default)]
    pub newlines: Newlines,
    /// Prompts are cut to so many tokens, the end token included.
    #[serde(default = "default_source_tokens")]
    pub max_source_tokens: usize,
    /// Targets are cut to so many tokens, the end token included.
    #[serde(default = "default_target_tokens")]
    pub max_target_tokens: usize,
}

/// How generated text is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationOptions {
    /// Generate for so many rows before training; 0 for none.
    pub before_rows: usize,
    /// Generate for so many rows after training; 0 for all.
    pub rows: usize,
    /// Rows that a thread generates for at a time.
    pub batch_size: usize,
    /// How text is generated.
    pub generation: GenerationOptions,
    /// How it is scored.
    pub scores: Scores,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self {
            before_rows: 50,
            rows: 0,
            batch_size: 16,
            generation: GenerationOptions::default(),
            scores: Scores::default(),
        }
    }
}

fn default_output() -> PathBuf {
    "runs".into()
}

fn yes() -> bool {
    true
}

fn default_source_tokens() -> usize {
    512
}

fn default_target_tokens() -> usize {
    128
}

/// More threads than any machine has cores are a slip.
pub const MOST_THREADS: usize = 1024;

impl Config {
    /// The run's folder.
    pub fn folder(&self) -> PathBuf {
        self.output.join(&self.name)
    }

    /// The task that is trained.
    pub fn task(&self) -> &TaskOptions {
        &self.task[0]
    }

    /// The threads to use.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }

    /// Where and how to compute.
    pub fn compute(&self) -> ComputeOptions {
        let Self { device, dtype, tf32, kernels, .. } = *self;
        ComputeOptions { device, dtype, tf32, kernels }
    }

    /// The paths that may be names on the Hub, by key.
    fn paths(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let model =
            [("model.path", Some(&self.model.path)), ("model.tokenizer", self.model.tokenizer.as_ref())];
        let rows = self.task.first().map(|task| {
            let (validation, test) = (task.validation.as_ref(), task.test.as_ref());
            [("task.0.train", Some(&task.train)), ("task.0.validation", validation), ("task.0.test", test)]
        });
        let paths = model.into_iter().chain(rows.into_iter().flatten());
        paths.filter_map(|(key, path)| Some((key, path?.as_path())))
    }

    /// What is wrong with the values, by key.
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems: Vec<(String, String)> = Vec::new();
        let mut put = |key: &str, what: &str| problems.push((key.to_owned(), what.to_owned()));
        let plain =
            |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\']);
        if !plain(&self.name) {
            put("name", "must be the name of a folder, without slashes");
        }
        if self.threads > MOST_THREADS {
            put("threads", &format!("must be at most {MOST_THREADS}; 0 takes one for each core"));
        }
        match self.task.as_slice() {
            [] => put("task", "is empty: give one [[task]]"),
            [task] => task.problems(&mut put),
            [_, second, ..] => {
                put("task.1", &format!("one task can be trained; remove `{}`", second.name));
            }
        }
        for (key, path) in self.paths().filter(|(_, path)| is_name(path)) {
            if let Err(error) = path.to_string_lossy().parse::<Name>() {
                put(key, &error.to_string());
            }
        }
        if self.evaluation.batch_size == 0 {
            put("evaluation.batch_size", "must be at least 1");
        }
        if self.evaluation.scores.rouge.is_empty() {
            put("evaluation.scores.rouge", "is empty: name at least one figure, such as \"rouge1\"");
        }
        let validated = self.task.first().is_some_and(TaskOptions::has_validation);
        if self.training.evaluate_every > 0 && !validated && !self.task.is_empty() {
            let what =
                "asks for a validation loss, but the task has neither validation nor validation_fraction";
            put("training.evaluate_every", what);
        }
        let sections = [
            ("method", self.method.problems()),
            ("training", self.training.problems()),
            ("evaluation.generation", self.evaluation.generation.problems()),
        ];
        for (section, found) in sections {
            problems.extend(found.into_iter().map(|(key, what)| (format!("{section}.{key}"), what)));
        }
        problems
    }
}

impl TaskOptions {
    /// Whether rows are held out for a validation loss.
    pub fn has_validation(&self) -> bool {
        self.validation.is_some() || self.validation_fraction.is_some()
    }

    fn problems(&self, put: &mut impl FnMut(&str, &str)) {
        if self.validation.is_some() && self.validation_fraction.is_some() {
            put("task.0.validation_fraction", "validation is given too: keep one of them");
        }
        if self.validation_fraction.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            put("task.0.validation_fraction", "must lie between 0 and 1");
        }
        if !self.references.is_empty() && self.test.is_none() {
            put("task.0.references", "are columns of the test rows, but test is not given");
        }
        // Room for one token before the end token.
        let sizes = [
            ("task.0.max_source_tokens", self.max_source_tokens),
            ("task.0.max_target_tokens", self.max_target_tokens),
        ];
        for (key, size) in sizes {
            if size < 2 {
                put(key, "must be at least 2");
            }
        }
        if let Err(error) = self.template.set() {
            put("task.0.template", &error.to_string());
        }
    }
}
