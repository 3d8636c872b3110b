use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::{Error, Result};

pub(super) fn parse(path: &Path, text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
        Error::broken(path, line, error.message())
    })
}

/// Every key of a config with its value as TOML, the sections in front: `training.steps`, `task.0.name`.
fn flat(config: &Table) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, value) in config {
        flatten(key, value, &mut found);
    }
    found
}

fn flatten(key: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let inner = |name: &str| format!("{key}.{name}");
    match value {
        Value::Table(table) => table.iter().for_each(|(name, value)| flatten(&inner(name), value, found)),
        Value::Array(items) if items.iter().any(Value::is_table) => {
            items.iter().enumerate().for_each(|(i, value)| flatten(&inner(&i.to_string()), value, found));
        }
        value => {
            found.insert(key.to_owned(), value.to_string());
        }
    }
}

/// The keys in which configs differ, and each one's values in the order of the configs. Where a run lies and what it
/// is called says nothing of it.
pub(crate) fn differences(configs: &[&Table]) -> Vec<(String, Vec<Option<String>>)> {
    let flat: Vec<BTreeMap<String, String>> = configs.iter().map(|config| flat(config)).collect();
    let mut keys: Vec<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| !["name", "output"].contains(&key.as_str()))
        .map(|key| (key.clone(), flat.iter().map(|config| config.get(key).cloned()).collect::<Vec<_>>()))
        .filter(|(_, values)| values.iter().any(|value| *value != values[0]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn configs_differ_in_keys() {
        let a = table("name = \"a\"\nseed = 1\n[method]\nrank = 8\nnames = [\"q\"]\n[[task]]\nname = \"x\"");
        let b = table(
            "name = \"b\"\nseed = 1\n[method]\nrank = 9\nnames = [\"q\"]\n[[task]]\nname = \"y\"\ntest = \"t\"",
        );
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(&[&a, &b, &a]),
            [
                ("method.rank".to_owned(), vec![some("8"), some("9"), some("8")]),
                ("task.0.name".to_owned(), vec![some("\"x\""), some("\"y\""), some("\"x\"")]),
                ("task.0.test".to_owned(), vec![None, some("\"t\""), None]),
            ]
        );
        assert_eq!(differences(&[&a]), []);
    }

    #[test]
    fn what_is_not_toml_names_its_line() {
        let error = parse(Path::new("config.toml"), "a = 1\nb = ").unwrap_err().to_string();
        assert!(error.starts_with("config.toml:2: "), "{error}");
    }
}
