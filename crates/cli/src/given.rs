//! Files and folders that the command line names.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use tallow_hub::is_name;

use crate::config::{file_problem, model_problem, repository_problem, rows_problem};
use crate::hub::meant;

/// A command line that cannot be.
#[derive(Debug)]
pub struct Misuse(pub String);

impl std::error::Error for Misuse {}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses an option's file that is not there.
pub fn file(option: &str, path: Option<&Path>) -> Result<(), Misuse> {
    refuse(option, path.and_then(file_problem))
}

/// Refuses an option's file of rows that is not there, or of no known kind.
pub fn rows(option: &str, path: Option<&Path>) -> Result<(), Misuse> {
    refuse(option, path.and_then(rows_problem))
}

/// Refuses an option's folder that is not there, as a model's.
pub fn model(option: &str, path: Option<&Path>) -> Result<(), Misuse> {
    refuse(option, path.and_then(model_problem))
}

/// Refuses an option's folder that is not there, as an adapter's.
pub fn adapter(option: &str, path: Option<&Path>) -> Result<(), Misuse> {
    if let Some(path) = path.filter(|path| is_name(path)) {
        return refuse(option, repository_problem(path));
    }
    let path = path.filter(|path| !path.is_dir());
    refuse(option, path.map(|path| {
        let folder = path.display();
        format!("{folder}: no such folder; an adapter is one with adapter_config.json and adapter_model.safetensors{}", meant(path))
    }))
}

/// The text of a file.
pub fn text(path: &Path) -> Result<String> {
    let file = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{file}: cannot read"))?;
    Ok(String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Misuse(format!("{file}:{line}: not UTF-8 text"))
    })?)
}

fn refuse(option: &str, problem: Option<String>) -> Result<(), Misuse> {
    problem.map_or(Ok(()), |what| Err(Misuse(format!("{option} {what}").trim_start().to_owned())))
}
