//! A task's rows, tokenised.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use tallow_data::{
    Example, Limits, Prompts, Row, Sample, Targets, TokenCache, Tokenizer, read_rows, split_fraction,
};
use tallow_peft::Adapted;
use tallow_t5::T5;

use crate::cache;
use crate::compute::Compute;
use crate::config::{Config, ModelOptions, TaskOptions};

/// One part of a task's rows.
#[derive(Default)]
pub struct Part {
    pub examples: Vec<Example>,
    pub samples: Vec<Sample>,
}

/// A task's rows.
pub struct Task {
    pub train: Part,
    pub validation: Part,
    /// What generated text is measured on: the test rows, or those of the validation.
    pub held_out: Vec<Example>,
}

/// Loads a model's tokenizer.
pub fn tokenizer(options: &ModelOptions) -> Result<Tokenizer> {
    let (folder, file) = (&options.path, options.tokenizer_file());
    if !folder.is_dir() {
        let folder = folder.display();
        bail!(
            "{folder}: no such folder; a model is one with config.json, model.safetensors and tokenizer.json"
        );
    }
    if !file.is_file() {
        let file = file.display();
        bail!(
            "{file}: no such file; name another by model.tokenizer in a config, or by --tokenizer to generate"
        );
    }
    Ok(Tokenizer::from_file(&file)?)
}

/// Refuses a tokenizer with ids that the model has no embedding for.
pub fn check_vocabulary(tokenizer: &Tokenizer, options: &ModelOptions, model: &T5) -> Result<()> {
    let (tokens, rows) = (tokenizer.vocabulary_size(), model.config.vocab_size);
    if tokens > rows {
        let (file, folder) = (options.tokenizer_file(), options.path.display());
        bail!(
            "{}: {tokens} tokens, but the model in {folder} has a vocabulary of {rows}: use the model's own tokenizer",
            file.display()
        );
    }
    Ok(())
}

fn prompts(task: &TaskOptions, targets: Targets, seed: u64) -> Result<Prompts> {
    Ok(Prompts::new(task.template.set()?, targets, seed))
}

/// The rows that generated text is measured on.
pub fn held_out(config: &Config) -> Result<Vec<Example>> {
    let task = config.task();
    let (prompts, rows) = match test(config)? {
        Some(test) => test,
        None => (prompts(task, Targets::Template, config.seed)?, rows(config)?.1),
    };
    if rows.is_empty() {
        bail!("the task `{}` has neither test nor validation rows to measure on", task.name);
    }
    Ok(prompts.examples(&rows)?)
}

/// The test rows, if there are any, and what makes prompts and references of them.
fn test(config: &Config) -> Result<Option<(Prompts, Vec<Row>)>> {
    let task = config.task();
    let Some(file) = &task.test else { return Ok(None) };
    let targets = match task.references.as_slice() {
        [] => Targets::Template,
        columns => Targets::References(columns.to_vec()),
    };
    Ok(Some((prompts(task, targets, config.seed)?, read_rows(file)?)))
}

/// Training and validation rows.
fn rows(config: &Config) -> Result<(Vec<Row>, Vec<Row>)> {
    let task = config.task();
    let train = read_rows(&task.train)?;
    if let Some(file) = &task.validation {
        return Ok((train, read_rows(file)?));
    }
    let Some(fraction) = task.validation_fraction else { return Ok((train, Vec::new())) };
    let (_, held) = split_fraction(train.len(), fraction, config.seed)?;
    let held: HashSet<usize> = held.into_iter().collect();
    let mut parts = (Vec::new(), Vec::new());
    for (index, row) in train.into_iter().enumerate() {
        if held.contains(&index) { parts.1.push(row) } else { parts.0.push(row) }
    }
    Ok(parts)
}

impl Task {
    /// Reads, checks and tokenises all rows; says what was cut.
    pub fn load(config: &Config, tokenizer: &Tokenizer, say: &dyn Fn(&str)) -> Result<Self> {
        let task = config.task();
        let (train, validation) = rows(config)?;
        let prompts = prompts(task, Targets::Template, config.seed)?;
        let test = test(config)?;
        let limits = Limits { source: task.max_source_tokens, target: task.max_target_tokens };
        let test = test.map(|(prompts, rows)| prompts.examples(&rows));
        let (train, validation) = (prompts.examples(&train), prompts.examples(&validation));
        check_columns([Some(&train), Some(&validation), test.as_ref()].into_iter().flatten())?;
        let cache = cache::folder().map(|folder| TokenCache::new(folder.join("tokens")));
        let part = |name: &str, examples: Vec<Example>| -> Result<Part> {
            if examples.is_empty() {
                return Ok(Part::default());
            }
            let (samples, stats) = match &cache {
                Some(cache) => cache.tokenize(tokenizer, &examples, limits)?,
                None => tokenizer.tokenize(&examples, limits)?,
            };
            say(&format!("{name}: {stats}"));
            Ok(Part { examples, samples })
        };
        let test = test.transpose()?;
        let (train, validation) = (part("training", train?)?, part("validation", validation?)?);
        let held_out = test.unwrap_or_else(|| validation.examples.clone());
        Ok(Self { train, validation, held_out })
    }
}

/// Refuses rows that lack columns: those of all parts together.
fn check_columns<'a>(parts: impl Iterator<Item = &'a tallow_data::Result<Vec<Example>>>) -> Result<()> {
    let missing: Vec<String> = parts
        .filter_map(|part| part.as_ref().err())
        .filter(|error| matches!(error, tallow_data::Error::MissingColumns(_)))
        .map(ToString::to_string)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => bail!("{}", missing.join("\n")),
    }
}

/// Loads an adapter onto its base.
pub fn adapt(base: T5, folder: &Path) -> Result<Adapted> {
    Adapted::load(base, folder).with_context(|| format!("cannot load the adapter in {}", folder.display()))
}

/// Loads what a run left in `folder`, its adapter onto its base, or its model, to compute with it.
pub fn trained(config: &Config, folder: &Path, compute: &Compute) -> Result<T5> {
    let (device, dtype) = (compute.device(), compute.dtype);
    match config.method.has_adapter() {
        true => Ok(adapt(model(&config.model.path, device, dtype)?, folder)?.model),
        false => model(folder, device, dtype),
    }
}

/// Loads a model.
pub fn model(folder: &Path, device: &Device, dtype: DType) -> Result<T5> {
    T5::load(folder, device, dtype).with_context(|| format!("cannot load the model in {}", folder.display()))
}
