//! A task's rows, tokenised.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use tallow_data::{Dataset, Example, Examples, Limits, Prompts, Samples, Targets, TokenCache, Tokenizer};
use tallow_hub::Wanted;
use tallow_peft::{Adapted, Method};
use tallow_t5::T5;

use crate::cache;
use crate::compute::Compute;
use crate::config::{Config, ModelOptions, TaskOptions};
use crate::hub;

/// A task's rows. Of those to train on, the tokens alone are kept, in a file.
pub struct Task {
    pub train: Samples,
    pub validation: Samples,
    /// What generated text is measured on: the test rows, or those of the validation.
    pub held_out: Vec<Example>,
    /// Where the training rows come from.
    rows: Dataset,
}

/// Loads the tokenizer of a config's model, which treats line breaks as its task wants.
pub fn task_tokenizer(config: &Config) -> Result<Tokenizer> {
    Ok(tokenizer(&config.model)?.with_newlines(config.task().newlines)?)
}

/// Loads a model's tokenizer.
pub fn tokenizer(options: &ModelOptions) -> Result<Tokenizer> {
    Ok(Tokenizer::from_file(&hub::tokenizer_file(options)?)?)
}

/// The method with the tokens of the text that a prompt starts from, which the tokenizer alone knows; any other as it is.
/// As in peft, the end token is one of them.
pub fn method(method: &Method, tokenizer: &Tokenizer) -> Result<Method> {
    let mut method = method.clone();
    if let Method::Prompt(options) = &mut method
        && let Some(text) = &options.prompt_tuning_init_text
    {
        options.init_tokens = tokenizer.encode(text, usize::MAX)?.ids;
    }
    Ok(method)
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

/// The rows of a file, or of a pattern's files.
fn dataset(config: &Config, name: &Path, targets: Targets) -> Result<Dataset> {
    let task = config.task();
    let prompts = Prompts::new(task.template.set()?, targets, config.seed);
    Ok(Dataset::new(hub::source(name, &task.columns)?, prompts))
}

/// The rows that generated text is measured on, at most so many.
pub fn held_out(config: &Config, most: Option<usize>) -> Result<Vec<Example>> {
    let rows = match test(config)? {
        Some(test) => Some(test),
        None => validation(config)?,
    };
    match rows.map(|rows| rows.collect(most)).transpose()? {
        Some(examples) if !examples.is_empty() => Ok(examples),
        _ => bail!("the task `{}` has neither test nor validation rows to measure on", config.task().name),
    }
}

/// The names of the parts.
pub const TRAINING: &str = "training";
pub const VALIDATION: &str = "validation";
pub const TEST: &str = "test";

/// The rows to train on.
pub fn training(config: &Config) -> Result<Dataset> {
    Ok(split(config)?.0)
}

/// The rows of the validation loss, if there are any.
pub fn validation(config: &Config) -> Result<Option<Dataset>> {
    match &config.task().validation {
        Some(name) => Ok(Some(dataset(config, name, Targets::Template)?)),
        None => Ok(split(config)?.1),
    }
}

/// The test rows, if there are any.
pub fn test(config: &Config) -> Result<Option<Dataset>> {
    let TaskOptions { test, references, .. } = config.task();
    let targets = match references.as_slice() {
        [] => Targets::Template,
        columns => Targets::References(columns.to_vec()),
    };
    test.as_ref().map(|name| dataset(config, name, targets)).transpose()
}

/// The training rows, and those held out of their files.
fn split(config: &Config) -> Result<(Dataset, Option<Dataset>)> {
    let task = config.task();
    let rows = dataset(config, &task.train, Targets::Template)?;
    let Some(fraction) = task.validation_fraction else { return Ok((rows, None)) };
    let (training, held_out) = rows.split(fraction, config.seed)?;
    Ok((training, Some(held_out)))
}

impl Task {
    /// Reads, checks and tokenises all rows; says what was cut.
    pub fn load(config: &Config, tokenizer: &Tokenizer, say: &dyn Fn(&str)) -> Result<Self> {
        let task = config.task();
        let (training, held_out) = split(config)?;
        let validation = match held_out {
            Some(held_out) => Some(held_out),
            None => validation(config)?,
        };
        let limits = Limits { source: task.max_source_tokens, target: task.max_target_tokens };
        let cache = TokenCache::new(cache::folder().map(|folder| folder.join("tokens")));
        let key = |rows: &Dataset| cache.key(tokenizer, rows, limits);
        let most = Some(config.evaluation.rows).filter(|&rows| rows > 0);
        let (of_training, of_validation) = (key(&training), validation.as_ref().map(key).transpose());
        let test = test(config)?.map(|rows| rows.collect(most)).transpose();
        let errors = [of_training.as_ref().err(), of_validation.as_ref().err(), test.as_ref().err()];
        check_columns(errors.into_iter().flatten())?;

        let part = |name: &str, key, rows: &Dataset| -> Result<Samples> {
            let (samples, stats) = cache.tokenize(&key, tokenizer, rows, limits)?;
            if !samples.is_empty() {
                say(&format!("{name}: {stats}"));
            }
            Ok(samples)
        };
        let train = part(TRAINING, of_training?, &training)?;
        let samples = match of_validation?.zip(validation.as_ref()) {
            Some((key, rows)) => part(VALIDATION, key, rows)?,
            None => Samples::default(),
        };
        let held_out = match (test?, &validation) {
            (Some(test), _) => test,
            (None, Some(validation)) => validation.collect(most)?,
            (None, None) => Vec::new(),
        };
        Ok(Self { train, validation: samples, held_out, rows: training })
    }

    /// Where a training row stands, for messages.
    pub fn origin(&self, row: usize) -> String {
        self.rows.origin(row).map_or_else(|| format!("row {}", row + 1), |origin| origin.to_string())
    }
}

/// Refuses rows that lack columns: those of all parts together.
fn check_columns<'a>(errors: impl Iterator<Item = &'a tallow_data::Error>) -> Result<()> {
    let missing: Vec<String> = errors
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
