//! adapter_config.json.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::{Error, Result, TargetModules};

/// Keys that every kind has, and that say nothing of the mathematics.
const COMMON: [&str; 9] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
    "version",
];

/// An adapter's config, and which of its keys have been asked for.
pub(crate) struct ConfigFile {
    path: PathBuf,
    keys: Map<String, Value>,
    seen: RefCell<BTreeSet<String>>,
}

impl ConfigFile {
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let fail = |what: String| Error::Config { path: path.to_path_buf(), what };
        let keys =
            serde_json::from_str(&text).map_err(|error| fail(format!("not a JSON object: {error}")))?;
        Ok(Self { path: path.to_path_buf(), keys, seen: RefCell::default() })
    }

    /// The object under a key, as a config of its own.
    pub fn within(&self, key: &str) -> Option<Self> {
        let keys = self.get(key)?.as_object()?.clone();
        Some(Self { path: self.path.clone(), keys, seen: RefCell::default() })
    }

    pub fn fail(&self, what: String) -> Error {
        Error::Config { path: self.path.clone(), what }
    }

    fn missing(&self, key: &str) -> Error {
        self.fail(format!("there is no {key}"))
    }

    /// A key's value, if it is there and not null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.seen.borrow_mut().insert(key.to_owned());
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// A key's text, if it has one.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(Value::as_str).map(str::to_owned)
    }

    /// A key's text, which has to be there.
    pub fn required_text(&self, key: &str) -> Result<String> {
        self.text(key).ok_or_else(|| self.missing(key))
    }

    pub fn is_on(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn number(&self, key: &str) -> Result<f64> {
        let value = self.get(key).ok_or_else(|| self.missing(key))?;
        value.as_f64().ok_or_else(|| self.fail(format!("{key} is {value}, which is not a number")))
    }

    pub fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|_| self.number(key)).transpose()
    }

    /// A whole number from 1.
    pub fn whole(&self, key: &str) -> Result<usize> {
        let number = self.number(key)?;
        match number >= 1.0 && number.fract() == 0.0 {
            true => Ok(number as usize),
            false => Err(self.fail(format!("{key} is {number}; expected a whole number from 1"))),
        }
    }

    /// A key's value as a type, if it is there; `expected` says what of.
    pub fn parsed<T: DeserializeOwned>(&self, key: &str, expected: &str) -> Result<Option<T>> {
        self.get(key).map(|value| self.parse(key, value, expected)).transpose()
    }

    pub fn parse<T: DeserializeOwned>(&self, key: &str, value: &Value, expected: &str) -> Result<T> {
        serde_json::from_value(value.clone())
            .map_err(|_| self.fail(format!("{key} is {value}; expected {expected}")))
    }

    /// Names of layers, or a pattern.
    pub fn targets(&self, key: &str) -> Result<Option<TargetModules>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let targets = serde_json::from_value(value.clone())
            .map_err(|_| self.fail(format!("{key} is neither a list of names nor a pattern")))?;
        Ok(match &targets {
            TargetModules::Suffixes(names) if names.is_empty() => None,
            _ => Some(targets),
        })
    }

    /// `target_modules`, which have to be there.
    pub fn required_targets(&self) -> Result<TargetModules> {
        self.targets("target_modules")?.ok_or_else(|| self.missing("target_modules"))
    }

    /// Refuses keys that are on: what changes the mathematics must not be passed over in silence.
    pub fn refuse(&self, keys: &[&str]) -> Result<()> {
        let on = keys.iter().filter(|key| self.get(key).is_some_and(|value| !is_off(value)));
        let on: Vec<&str> = on.copied().collect();
        match on.is_empty() {
            true => Ok(()),
            false => Err(self.fail(format!("uses {}, which cannot be read", on.join(", ")))),
        }
    }

    /// Keys that change nothing.
    pub fn harmless(&self, keys: &[&str]) {
        self.seen.borrow_mut().extend(keys.iter().map(|&key| key.to_owned()));
    }

    /// A method with the values that were read, if they can be.
    pub fn check<M: Checked>(&self, method: M) -> Result<M> {
        match method.problems().into_iter().next() {
            Some((key, what)) => Err(self.fail(format!("{key} {what}"))),
            None => Ok(method),
        }
    }

    /// Keys that nobody has asked for. One that turns something on may change the mathematics, and is refused; the others
    /// are to be told of.
    pub fn unknown(&self) -> Result<Vec<String>> {
        let seen = self.seen.borrow();
        let unknown =
            self.keys.iter().filter(|(key, _)| !seen.contains(*key) && !COMMON.contains(&key.as_str()));
        let unknown: Vec<(&String, &Value)> = unknown.filter(|(_, value)| !is_off(value)).collect();
        let turns_on = |value: &Value| matches!(value, Value::Bool(_) | Value::Array(_) | Value::Object(_));
        let on: Vec<&str> =
            unknown.iter().filter(|(_, value)| turns_on(value)).map(|(key, _)| key.as_str()).collect();
        match on.is_empty() {
            true => Ok(unknown.into_iter().map(|(key, value)| format!("{key} = {value}")).collect()),
            false => Err(self.fail(format!(
                "uses {}, which is not known here and may change what the adapter computes",
                on.join(", ")
            ))),
        }
    }
}

/// What can say what is wrong with its values.
pub(crate) trait Checked {
    fn problems(&self) -> Vec<(&'static str, String)>;
}

impl<K: Kind> Checked for K {
    fn problems(&self) -> Vec<(&'static str, String)> {
        Kind::problems(self)
    }
}

impl Checked for crate::Method {
    fn problems(&self) -> Vec<(&'static str, String)> {
        self.kind().problems()
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::String(text) => text == "none",
        Value::Number(_) => false,
    }
}
