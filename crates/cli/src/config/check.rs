//! A table to a config, with all that is wrong with it.

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;
use super::overrides::is_within;

/// The config, if it can be had, and what is wrong: a bad key is noted and taken out, a missing one noted and
/// something put in its place, and the rest read on.
pub(super) fn check(mut value: Value) -> (Option<Config>, Vec<(String, String)>) {
    if let Some(method) = value.get_mut("method").and_then(Value::as_table_mut) {
        method.entry("kind").or_insert_with(|| "lora".into());
    }
    let mut problems: Vec<(String, String)> = Vec::new();
    // Keys that were missing: nothing is said of what stands in for them.
    let mut stand_ins: Vec<String> = Vec::new();
    let is_said = |stand_ins: &[String], key: &str| !stand_ins.iter().any(|missing| is_within(key, missing));
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(value.clone()) {
            Ok(config) => {
                let values = config.problems();
                // Nor is a value that was taken out a missing one.
                let is_new = |key: &str| problems.iter().all(|(known, _)| known != key);
                let values = values.into_iter().filter(|(key, _)| is_said(&stand_ins, key) && is_new(key));
                let values: Vec<_> = values.collect();
                problems.extend(values);
                return (Some(config), problems);
            }
            Err(error) => error,
        };
        let path = path_of(&error);
        let message = error.inner().message().to_owned();
        let (mut key, what) = match between(&message, "unknown field `", "`") {
            Some(unknown) => {
                let mut key = path.clone();
                if key.last().map(String::as_str) != Some(unknown) {
                    key.push(unknown.to_owned());
                }
                (key, unknown_key(&section(&value, &path), unknown, &message))
            }
            None => {
                let culprit = culprit(&value, &path, &message);
                (path.into_iter().chain(culprit).collect(), plain(&message))
            }
        };
        // A missing key belongs to the section that lacks it.
        if let Some(missing) = between(&what, "missing field `", "`") {
            key.push(missing.to_owned());
            let name = key.join(".");
            let known = problems.iter().any(|(known, _)| *known == name);
            if !known && is_said(&stand_ins, &name) {
                problems.push((name.clone(), "is missing".to_owned()));
            }
            match stand_in(&value, &key) {
                Some(other) if !stand_ins.contains(&name) => value = other,
                _ => return (None, problems),
            }
            stand_ins.push(name);
            continue;
        }
        let name = key.join(".");
        if is_said(&stand_ins, &name) {
            problems.push((name, what));
        }
        // Of a list, one wrong item takes the others with it.
        let list = key.split_last().filter(|(last, list)| list.len() > 1 && last.parse::<usize>().is_ok());
        if !remove(&mut value, list.map_or(&key, |(_, list)| list)) {
            return (None, problems);
        }
    }
}

fn path_of<E>(error: &serde_path_to_error::Error<E>) -> Vec<String> {
    let parts = error.path().iter().filter_map(|segment| match segment {
        serde_path_to_error::Segment::Map { key } => Some(key.clone()),
        serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
        _ => None,
    });
    parts.collect()
}

/// The config with something of the right type at the missing `key`, if such can be found.
fn stand_in(value: &Value, key: &[String]) -> Option<Value> {
    let (last, section) = key.split_last()?;
    let table = || Value::Table(Table::new());
    let candidates = [table(), Value::Array(vec![table()]), Value::String(String::new()), Value::Integer(1)];
    candidates.into_iter().find_map(|candidate| {
        let mut filled = value.clone();
        let place = section.iter().try_fold(&mut filled, |value, part| match value {
            Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
            other => other.get_mut(part),
        });
        place?.as_table_mut()?.insert(last.clone(), candidate);
        let fits = match serde_path_to_error::deserialize::<_, Config>(filled.clone()) {
            Ok(_) => true,
            // The next thing that is wrong lies elsewhere, or within.
            Err(error) => {
                let lacking = between(error.inner().message(), "missing field `", "`");
                let wrong: Vec<String> =
                    path_of(&error).into_iter().chain(lacking.map(str::to_owned)).collect();
                !key.starts_with(&wrong)
            }
        };
        fits.then_some(filled)
    })
}

/// Where serde knows only the section that it failed on: the key without which it fails on something else.
fn culprit(value: &Value, path: &[String], message: &str) -> Option<String> {
    let section = path.iter().try_fold(value, |value, part| value.get(part))?;
    section.as_table()?.keys().find_map(|key| {
        let mut without = value.clone();
        remove(&mut without, &[path, std::slice::from_ref(key)].concat());
        let other = match Config::deserialize(without) {
            Ok(_) => true,
            Err(error) => error.message() != message && !error.message().starts_with("missing field"),
        };
        other.then(|| key.clone())
    })
}

/// A message of serde's in a config's words.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("expected internally tagged enum Method", "expected a section with a kind, as {kind=\"lora\"}"),
        ("expected usize", "expected a whole number from 0"),
        ("expected u64", "expected a whole number from 0"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected path string", "expected a path"),
        ("expected a sequence", "expected a list"),
        ("expected struct ", "expected a section"),
    ];
    let message = message.trim();
    if let Some(unknown) = between(message, "unknown variant `", "`") {
        return unknown_word(unknown, message);
    }
    match WORDS.iter().find_map(|(theirs, ours)| Some((message.split_once(theirs)?.0, ours))) {
        Some((start, ours)) => format!("{start}{ours}"),
        None => message.to_owned(),
    }
}

/// What a section is called that has keys of its own by its kind: `kind = "ia3"`.
fn section(value: &Value, path: &[String]) -> String {
    let kind = || value.get("method")?.get("kind")?.as_str();
    match path.first().map(String::as_str) {
        Some("method") => kind().map_or_else(String::new, |kind| format!(" of kind = \"{kind}\"")),
        _ => String::new(),
    }
}

/// What to say of a key that is not known: the nearest one that is.
fn unknown_key(of: &str, unknown: &str, message: &str) -> String {
    let known = listed(message);
    match nearest(unknown, &known) {
        Some(nearest) => format!("is not a known key{of}; did you mean `{nearest}`?"),
        None if known.is_empty() => format!("is not a known key{of}, which has none"),
        None => format!("is not a known key{of}; known are {}", known.join(", ")),
    }
}

/// What to say of a word that is none of those that there are.
fn unknown_word(unknown: &str, message: &str) -> String {
    let known = listed(message);
    let list = known.join(", ");
    match nearest(unknown, &known) {
        Some(nearest) => format!("`{unknown}` is not known; did you mean `{nearest}`? Known are {list}"),
        None => format!("`{unknown}` is not known; known are {list}"),
    }
}

/// What serde expected, of a list of names.
fn listed(message: &str) -> Vec<&str> {
    let list = message.split_once("expected").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = known.iter().map(|known| (strsim::normalized_damerau_levenshtein(unknown, known), *known));
    let nearest = likeness.max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(likeness, _)| *likeness >= 0.5).map(|(_, name)| name)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inner, _)| inner)
}

pub(super) fn remove(value: &mut Value, path: &[String]) -> bool {
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
