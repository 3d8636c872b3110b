use std::path::Path;

use anyhow::{Result, bail};
use toml::{Table, Value};

use super::check::{check, remove};
use super::files::{Reads, missing};
use super::overrides::{apply, is_within, key_of, rival};
use super::problems::{Given, Problem};
use super::{Config, Problems};
use crate::given::{self, Misuse};

/// Reads a config, changes it by `key=value` overrides, and checks all of it, the files that it names included.
///
/// # Errors
/// [`Problems`] that lists everything that is wrong, or that the file cannot be read.
pub fn load(path: &Path, overrides: &[String]) -> Result<Config> {
    load_reading(path, overrides, Reads::All)
}

/// The same, for who reads only these of the files that it names.
pub fn load_reading(path: &Path, overrides: &[String], reads: Reads) -> Result<Config> {
    match read(path, overrides, reads)? {
        (Some(config), problems) if problems.found.is_empty() => Ok(config),
        (_, problems) => Err(problems.into()),
    }
}

/// The same, which leaves what is wrong to the caller; where a value is missing or wrong, something may stand in for it.
///
/// # Errors
/// If the file cannot be read, or is no TOML.
pub fn read(path: &Path, overrides: &[String], reads: Reads) -> Result<(Option<Config>, Problems)> {
    // A run's folder has its own.
    let within = path.join("config.toml");
    let path = if within.is_file() { &within } else { path };
    let file = path.display().to_string();
    if path.is_dir() {
        bail!(Misuse(format!("{file}: a folder without config.toml: give a config file, or a run's folder")));
    }
    if !path.exists() {
        bail!(Misuse(format!("{file}: no such file: give a config file, or a run's folder")));
    }
    let text = given::text(path)?;
    let problems = |found| Problems { of: file.clone(), found };
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let given = error.span().map_or(Given::None, |span| Given::Line(line_at(&text, span.start)));
        problems(vec![Problem { given, key: String::new(), what: error.message().to_owned() }])
    })?;
    let mut value = Value::Table(table);
    let mut found = Vec::new();
    for rival in overrides.iter().filter_map(|text| rival(text)) {
        remove(&mut value, &rival);
    }
    for text in overrides {
        if let Err(what) = apply(&mut value, text) {
            found.push(Problem { given: Given::Override(text.clone()), key: String::new(), what });
        }
    }
    let (config, mut wrong) = check(value);
    let files = config.as_ref().map(|config| missing(config, reads)).unwrap_or_default();
    // Nothing is said of what stands in for a value.
    let is_said = |key: &str| wrong.iter().any(|(wrong, _)| is_within(key, wrong));
    let files: Vec<_> = files.into_iter().filter(|(key, _)| !is_said(key)).collect();
    wrong.extend(files);
    // The last of several overrides stands.
    let overriding = |fits: &dyn Fn(&str) -> bool| {
        let over = overrides.iter().rev().find(|text| key_of(text).is_some_and(fits));
        over.map(|text| Given::Override(text.clone()))
    };
    found.extend(wrong.into_iter().map(|(key, what)| {
        let given = overriding(&|over| is_within(&key, over))
            .or_else(|| line_of(&text, &key).map(Given::Line))
            // A section that is there only since an override names a key of it.
            .or_else(|| overriding(&|over| is_within(over, &key)))
            .unwrap_or(Given::None);
        Problem { given, key, what }
    }));
    found.sort_by_key(|problem| match problem.given {
        Given::Line(line) => Some(line),
        Given::None | Given::Elsewhere | Given::Override(_) => None,
    });
    Ok((config, problems(found)))
}

/// The line of a key in the file, or of the nearest section around it that the file has.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = toml::de::DeTable::parse(text).ok()?;
    let mut spans = Vec::new();
    let mut parts = key.split('.');
    let mut current = parts.next().and_then(|part| table.get_ref().get_key_value(part));
    while let Some((name, value)) = current {
        spans.push(name.span().start);
        let mut inner = value.get_ref();
        if let toml::de::DeValue::Array(items) = inner {
            let item =
                parts.next().and_then(|part| part.parse::<usize>().ok()).and_then(|index| items.get(index));
            match item {
                Some(item) => {
                    spans.push(item.span().start);
                    inner = item.get_ref();
                }
                None => break,
            }
        }
        current = match (inner, parts.next()) {
            (toml::de::DeValue::Table(table), Some(part)) => table.get_key_value(part),
            _ => break,
        };
    }
    // Tables written as `[a.b]` and `[[a]]` start where they first occur.
    spans.last().map(|&at| line_at(text, at))
}

fn line_at(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}
