//! A prompt's virtual tokens, told by the tokens they lie near to.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use tallow_data::Tokenizer;
use tallow_peft::{Method, neighbours};
use tallow_report::NearToken;
use tallow_t5::T5;

use crate::config::{Config, ModelOptions};
use crate::data::{adapt, model, tokenizer};

/// The tokens nearest to each virtual token of an adapted model's prompt; nothing where it has none.
pub fn nearest(adapted: &T5, tokenizer: &Tokenizer, most: usize) -> Result<Vec<Vec<NearToken>>> {
    let found = neighbours(adapted, tokenizer.vocabulary_size(), most)?;
    let named = |near: tallow_peft::Neighbour| NearToken {
        token: tokenizer.pieces(&[near.token]).concat(),
        id: near.token,
        cosine: near.cosine.into(),
    };
    Ok(found.into_iter().map(|near| near.into_iter().map(named).collect()).collect())
}

/// The same for an adapter's folder and its base.
pub fn nearest_of(base: &ModelOptions, adapter: &Path, most: usize) -> Result<Vec<Vec<NearToken>>> {
    let adapted = adapt(model(&base.path, &Device::Cpu, DType::F32)?, adapter)?;
    let tokenizer = tokenizer(base).context("tokens cannot be told without the base's tokenizer")?;
    nearest(&adapted.model, &tokenizer, most)
}

/// The same for what a run has left, if that is a prompt.
pub fn nearest_of_run(config: &Config, adapter: &Path, most: usize) -> Result<Vec<Vec<NearToken>>> {
    match (&config.method, adapter.is_dir()) {
        (Method::Prompt(_), true) => nearest_of(&config.model, adapter, most),
        _ => Ok(Vec::new()),
    }
}
