//! A task's rows, tokenised.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use tallow_data::{Example, Limits, Prompts, Sample, Targets, TokenCache, Tokenizer, split_fraction};
use tallow_hub::Wanted;
use tallow_peft::Adapted;
use tallow_t5::T5;

use crate::cache;
use crate::compute::Compute;
use crate::config::{Config, ModelOptions, TaskOptions};
use crate::hub;

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
    Ok(Tokenizer::from_file(&hub::tokenizer_file(options)?)?)
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

pub type Examples = tallow_data::Result<Vec<Example>>;

/// The rows that generated text is measured on.
pub fn held_out(config: &Config) -> Result<Vec<Example>> {
    let examples = match test(config)? {
        Some(test) => test?,
        None => parts(config)?.1?,
    };
    if examples.is_empty() {
        bail!("the task `{}` has neither test nor validation rows to measure on", config.task().name);
    }
    Ok(examples)
}

/// The test rows, if there are any.
fn test(config: &Config) -> Result<Option<Examples>> {
    let task = config.task();
    let Some(name) = &task.test else { return Ok(None) };
    let targets = match task.references.as_slice() {
        [] => Targets::Template,
        columns => Targets::References(columns.to_vec()),
    };
    let rows = hub::source(name, &task.columns)?;
    Ok(Some(prompts(task, targets, config.seed)?.examples(rows.rows())))
}

/// The names of the parts.
pub const TRAINING: &str = "training";
pub const VALIDATION: &str = "validation";
pub const TEST: &str = "test";

/// The rows of each part that the task has, as prompts and targets.
pub fn examples(config: &Config) -> Result<Vec<(&'static str, Examples)>> {
    let (train, validation) = parts(config)?;
    let parts = [(TRAINING, Some(train)), (VALIDATION, Some(validation)), (TEST, test(config)?)];
    let parts = parts.into_iter().filter_map(|(name, part)| Some((name, part?)));
    Ok(parts.filter(|(_, part)| !part.as_ref().is_ok_and(Vec::is_empty)).collect())
}

/// Training and validation rows.
fn parts(config: &Config) -> Result<(Examples, Examples)> {
    let task = config.task();
    let prompts = prompts(task, Targets::Template, config.seed)?;
    let train = hub::source(&task.train, &task.columns)?;
    if let Some(name) = &task.validation {
        let validation = hub::source(name, &task.columns)?;
        return Ok((prompts.examples(train.rows()), prompts.examples(validation.rows())));
    }
    let Some(fraction) = task.validation_fraction else {
        return Ok((prompts.examples(train.rows()), Ok(Vec::new())));
    };
    let count = train.rows().try_fold(0, |count, row| row.map(|_| count + 1))?;
    let (_, held) = split_fraction(count, fraction, config.seed)?;
    let held: HashSet<usize> = held.into_iter().collect();
    let part = |wanted: bool| {
        let rows = train.rows().enumerate().filter(|(index, _)| held.contains(index) == wanted);
        prompts.examples(rows.map(|(_, row)| row))
    };
    Ok((part(false), part(true)))
}

impl Task {
    /// Reads, checks and tokenises all rows; says what was cut.
    pub fn load(config: &Config, tokenizer: &Tokenizer, say: &dyn Fn(&str)) -> Result<Self> {
        let task = config.task();
        let (train, validation) = parts(config)?;
        let test = test(config)?;
        let limits = Limits { source: task.max_source_tokens, target: task.max_target_tokens };
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
        let (train, validation) = (part(TRAINING, train?)?, part(VALIDATION, validation?)?);
        let held_out = test.unwrap_or_else(|| validation.examples.clone());
        Ok(Self { train, validation, held_out })
    }
}

/// Refuses rows that lack columns: those of all parts together.
fn check_columns<'a>(parts: impl Iterator<Item = &'a Examples>) -> Result<()> {
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
    let found = hub::local(folder, Wanted::Adapter)?;
    Adapted::load(base, &found)
        .with_context(|| format!("cannot load the adapter in {}{}", folder.display(), hub::meant(folder)))
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
    let found = hub::local(folder, Wanted::Model)?;
    T5::load(&found, device, dtype)
        .with_context(|| format!("cannot load the model in {}{}", folder.display(), hub::meant(folder)))
}
