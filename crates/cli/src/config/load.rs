use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Config, Problems};

/// Reads a config, changes it by `key=value` overrides, and checks all of it.
///
/// # Errors
/// [`Problems`] that lists everything that is wrong, or that the file cannot be read.
pub fn load(path: &Path, overrides: &[String]) -> Result<Config> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("{file}: cannot read the config"))?;
    let problems = |found| Problems { file: file.clone(), found };
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| line_at(&text, span.start));
        problems(vec![(line, String::new(), error.message().to_owned())])
    })?;
    let mut found = Vec::new();
    for text in overrides {
        if let Err(what) = apply(&mut table, text) {
            found.push((None, text.clone(), what));
        }
    }
    let (config, wrong) = deserialize(table);
    let wrong = wrong.into_iter().chain(config.iter().flat_map(Config::problems));
    found.extend(wrong.map(|(key, what)| (line_of(&text, &key), key, what)));
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(problems(found).into()),
    }
}

/// Sets one key of the table from `key=value`; the value is TOML, or text as it stands.
fn apply(table: &mut Table, text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').ok_or("an override has the form key=value")?;
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, parents) = parts.split_last().expect("splitting gives at least one part");
    if parts.iter().any(|part| part.is_empty()) {
        return Err("has an empty part in its key".into());
    }
    let mut current = table;
    let mut parents = parents.iter().peekable();
    while let Some(part) = parents.next() {
        let entry = current.entry(part.to_string()).or_insert_with(|| Value::Table(Table::new()));
        let inner = match entry {
            Value::Array(items) => {
                let index = parents.next().ok_or_else(|| format!("{part} is a list: name an item, {part}.0"))?;
                let item = index.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| format!("{part} has no item {index}"))?
            }
            other => other,
        };
        current = inner.as_table_mut().ok_or_else(|| format!("{part} is not a section"))?;
    }
    current.insert((*last).to_owned(), value);
    Ok(())
}

/// The config, if it can be had, and what is wrong: a bad key is noted and taken out, and the rest read on.
fn deserialize(table: Table) -> (Option<Config>, Vec<(String, String)>) {
    let mut value = Value::Table(table);
    let mut problems: Vec<(String, String)> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(value.clone()) {
            Ok(config) => return (Some(config), problems),
            Err(error) => error,
        };
        let path: Vec<String> = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                _ => None,
            })
            .collect();
        let message = error.inner().message().to_owned();
        let (mut key, what) = match between(&message, "unknown field `", "`") {
            Some(unknown) => {
                let mut key = path.clone();
                if key.last().map(String::as_str) != Some(unknown) {
                    key.push(unknown.to_owned());
                }
                (key, unknown_key(unknown, &message))
            }
            None => (path, message.trim().to_owned()),
        };
        let removed = remove(&mut value, &key);
        // A missing key belongs to the section that lacks it.
        if let Some(missing) = between(&what, "missing field `", "`") {
            key.push(missing.to_owned());
            let name = key.join(".");
            if !problems.iter().any(|(known, _)| *known == name) {
                problems.push((name, "is missing".to_owned()));
            }
            return (None, problems);
        }
        problems.push((key.join("."), what));
        if !removed {
            return (None, problems);
        }
    }
}

/// What to say of a key that is not known: the nearest one that is.
fn unknown_key(unknown: &str, message: &str) -> String {
    let known: Vec<&str> = message
        .split_once("expected")
        .map(|(_, list)| list.split('`').skip(1).step_by(2).collect())
        .unwrap_or_default();
    let nearest = known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(unknown, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, nearest)) if likeness >= 0.5 => {
            format!("is not a known key; did you mean `{nearest}`?")
        }
        _ if known.is_empty() => "is not a known key; this section has none".to_owned(),
        _ => format!("is not a known key; known are {}", known.join(", ")),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inner, _)| inner)
}

fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut current = value;
    for part in parents {
        let inner = match current {
            Value::Table(table) => table.get_mut(part),
            Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        };
        match inner {
            Some(inner) => current = inner,
            None => return false,
        }
    }
    match current {
        Value::Table(table) => table.remove(last).is_some(),
        _ => false,
    }
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
            let item = parts.next().and_then(|part| part.parse::<usize>().ok()).and_then(|index| items.get(index));
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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "trial"

[model]
path = "model"

[training]
steps = 3

[[task]]
name = "summary"
train = "rows.jsonl"
template = "dialogue-summary"
"#;

    fn try_load(text: &str, overrides: &[&str]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        load(&path, &overrides)
            .map_err(|error| format!("{error:#}").replace(&path.display().to_string(), "c.toml"))
    }

    #[test]
    fn a_config_is_read_with_defaults() {
        let config = try_load(GOOD, &[]).unwrap();
        assert_eq!(config.folder(), Path::new("runs/trial"));
        assert_eq!(config.method, tallow_peft::Method::default());
        assert_eq!(config.task().max_source_tokens, 512);
    }

    #[test]
    fn a_resolved_config_reads_back_as_itself() {
        let config = try_load(GOOD, &["method.kind=full", "evaluation.generation.sampling.top_k=5"]).unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(try_load(&text, &[]).unwrap(), config);
    }

    #[test]
    fn any_key_can_be_overridden() {
        let overrides = [
            "training.learning_rate=2e-4",
            "name=other name",
            "task.0.max_source_tokens=99",
            "method.kind=lora",
            "method.target_modules=[\"q\", \"k\"]",
            "evaluation.generation.max_new_tokens=7",
        ];
        let config = try_load(GOOD, &overrides).unwrap();
        assert_eq!(config.training.learning_rate, 2e-4);
        assert_eq!(config.name, "other name");
        assert_eq!(config.task().max_source_tokens, 99);
        assert_eq!(config.evaluation.generation.max_new_tokens, 7);
        assert!(matches!(config.method, tallow_peft::Method::Lora(options) if options.target_modules
            == tallow_peft::TargetModules::Suffixes(vec!["q".into(), "k".into()])));
    }

    #[test]
    fn all_problems_come_together_with_their_lines() {
        let text = GOOD.replace("steps = 3", "stepps = 3\nlearning_rate = \"high\"\nbeta1 = 2.0").replace(
            "train = \"rows.jsonl\"",
            "train = \"rows.jsonl\"\nmax_sauce_tokens = 3\ntemplat = \"x\"",
        );
        assert_eq!(
            try_load(&text, &["method.kind=lora", "method.rnak=3", "nonsense"]).unwrap_err(),
            "c.toml: 7 problems\n  \
             c.toml: nonsense: an override has the form key=value\n  \
             c.toml: method.rnak: is not a known key; did you mean `rank`?\n  \
             c.toml:8: training.stepps: is not a known key; did you mean `steps`?\n  \
             c.toml:9: training.learning_rate: invalid type: string \"high\", expected f64\n  \
             c.toml:15: task.0.max_sauce_tokens: is not a known key; did you mean `max_source_tokens`?\n  \
             c.toml:16: task.0.templat: is not a known key; did you mean `template`?\n  \
             c.toml:10: training.beta1: must lie in [0, 1)"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = try_load("name = \"x\"\n", &[]).unwrap_err();
        assert_eq!(error, "c.toml: 1 problem\n  c.toml: model: is missing");
        let error = try_load(&GOOD.replace("train = ", "test = "), &[]).unwrap_err();
        assert_eq!(error, "c.toml: 1 problem\n  c.toml:10: task.0.train: is missing");
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = try_load("name = \"x\"\n[model\n", &[]).unwrap_err();
        assert!(error.starts_with("c.toml: 1 problem\n  c.toml:2: "), "{error}");
    }
}
