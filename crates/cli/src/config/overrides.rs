//! `key=value` on the command line.

use toml::{Table, Value};

/// Keys of which a config has one.
const RIVALS: [(&str, &str); 3] =
    [("steps", "epochs"), ("batch_size", "batch_tokens"), ("validation", "validation_fraction")];

/// The key that an override takes the place of, besides its own.
pub(super) fn rival(text: &str) -> Option<Vec<String>> {
    let (section, key) = key_of(text)?.rsplit_once('.')?;
    let rival = RIVALS.iter().find_map(|&(a, b)| match key {
        _ if key == a => Some(b),
        _ if key == b => Some(a),
        _ => None,
    })?;
    Some(section.split('.').chain([rival]).map(str::to_owned).collect())
}

pub(super) fn key_of(text: &str) -> Option<&str> {
    text.split_once('=').map(|(key, _)| key.trim())
}

/// Whether `key` is `section`, or a key of it.
pub(super) fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Sets one key of the table from `key=value`; the value is TOML, or text as it stands. A name may look like a
/// number: what is text in the file stays text.
pub(super) fn apply(config: &mut Value, text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').ok_or("an override has the form key=value")?;
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let as_text = || Value::String(value.trim().to_owned());
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, parents) = parts.split_last().expect("splitting gives at least one part");
    if parts.iter().any(|part| part.is_empty()) {
        return Err("has an empty part in its key".into());
    }
    let mut current = config.as_table_mut().expect("a config is a table");
    let mut parents = parents.iter().peekable();
    while let Some(part) = parents.next() {
        let entry = current.entry(part.to_string()).or_insert_with(|| Value::Table(Table::new()));
        let inner = match entry {
            Value::Array(items) => {
                let index =
                    parents.next().ok_or_else(|| format!("{part} is a list: name an item, {part}.0"))?;
                let item = index.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| format!("{part} has no item {index}"))?
            }
            other => other,
        };
        current = inner.as_table_mut().ok_or_else(|| format!("{part} is not a section"))?;
    }
    let was_text = current.get(*last).is_some_and(Value::is_str);
    let value = match parsed {
        Some(value) if !was_text || value.is_str() || value.is_array() || value.is_table() => value,
        _ => as_text(),
    };
    current.insert((*last).to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tallow_train::BatchTokens;

    use crate::config::TemplateChoice;
    use crate::config::tests::{GOOD, try_load};

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
    fn a_text_stays_a_text() {
        let overrides =
            ["name=7", "model.path=true", "task.0.template={prompt = \"{{ a }}\", target = \"{{ b }}\"}"];
        let config = try_load(GOOD, &overrides).unwrap();
        assert_eq!((config.name.as_str(), config.model.path.as_path()), ("7", Path::new("true")));
        assert!(matches!(config.task().template, TemplateChoice::Inline(_)));
    }

    #[test]
    fn an_override_takes_the_place_of_its_rival() {
        let config = try_load(GOOD, &["training.epochs=2", "training.batch_tokens=512"]).unwrap();
        assert_eq!((config.training.steps, config.training.epochs), (None, Some(2)));
        assert_eq!(
            (config.training.batch_size, config.training.batch_tokens),
            (None, Some(BatchTokens::Tokens(512)))
        );
        let config = try_load(GOOD, &["task.0.validation=v.jsonl"]).unwrap();
        assert_eq!(config.task().validation.as_deref(), Some(Path::new("v.jsonl")));
        assert_eq!(
            try_load(GOOD, &["training.epochs=2", "training.steps=9"]).unwrap_err(),
            "c.toml: 1 problem\n  `training.epochs=2`: steps is given too: keep one of them"
        );
    }

    #[test]
    fn an_unknown_section_is_the_overrides() {
        assert_eq!(
            try_load(GOOD, &["trainig.steps=5"]).unwrap_err(),
            "c.toml: 1 problem\n  `trainig.steps=5`: trainig: is not a known key; did you mean `training`?"
        );
        // What the file has is the file's.
        let text = format!("{GOOD}\n[trainig]\nbeta1 = 0.5\n");
        assert_eq!(
            try_load(&text, &["trainig.steps=5"]).unwrap_err(),
            "c.toml: 1 problem\n  c.toml:15: trainig: is not a known key; did you mean `training`?"
        );
    }
}
