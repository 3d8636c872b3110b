use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::{Table, Value};

use super::problems::{Given, Problem};
use super::{Config, Problems};

/// Reads a config, changes it by `key=value` overrides, and checks all of it.
///
/// # Errors
/// [`Problems`] that lists everything that is wrong, or that the file cannot be read.
pub fn load(path: &Path, overrides: &[String]) -> Result<Config> {
    match read(path, overrides)? {
        (Some(config), problems) if problems.found.is_empty() => Ok(config),
        (_, problems) => Err(problems.into()),
    }
}

/// [`load`], which leaves what is wrong to the caller; where a value is missing or wrong, something may stand in for it.
///
/// # Errors
/// If the file cannot be read, or is no TOML.
pub fn read(path: &Path, overrides: &[String]) -> Result<(Option<Config>, Problems)> {
    // A run's folder has its own.
    let within = path.join("config.toml");
    let path = if within.is_file() { &within } else { path };
    let file = path.display().to_string();
    if path.is_dir() {
        bail!("{file}: a folder without config.toml: give a config file, or a run's folder");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{file}: cannot read the config"))?;
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
    let (config, wrong) = check(value);
    // The last of several overrides stands.
    let overriding =
        |key: &str| overrides.iter().rev().find(|text| key_of(text).is_some_and(|over| is_within(key, over)));
    found.extend(wrong.into_iter().map(|(key, what)| {
        let given = match overriding(&key) {
            Some(text) => Given::Override(text.clone()),
            None => line_of(&text, &key).map_or(Given::None, Given::Line),
        };
        Problem { given, key, what }
    }));
    found.sort_by_key(|problem| match problem.given {
        Given::Line(line) => Some(line),
        Given::None | Given::Override(_) => None,
    });
    Ok((config, problems(found)))
}

/// Keys of which a config has one.
const RIVALS: [(&str, &str); 3] =
    [("steps", "epochs"), ("batch_size", "batch_tokens"), ("validation", "validation_fraction")];

/// The key that an override takes the place of, besides its own.
fn rival(text: &str) -> Option<Vec<String>> {
    let (section, key) = key_of(text)?.rsplit_once('.')?;
    let rival = RIVALS.iter().find_map(|&(a, b)| match key {
        _ if key == a => Some(b),
        _ if key == b => Some(a),
        _ => None,
    })?;
    Some(section.split('.').chain([rival]).map(str::to_owned).collect())
}

fn key_of(text: &str) -> Option<&str> {
    text.split_once('=').map(|(key, _)| key.trim())
}

/// Whether `key` is `section`, or a key of it.
fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Sets one key of the table from `key=value`; the value is TOML, or text as it stands. A name may look like a
/// number: what is text in the file stays text.
fn apply(config: &mut Value, text: &str) -> Result<(), String> {
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

/// The config, if it can be had, and what is wrong: a bad key is noted and taken out, a missing one noted and
/// something put in its place, and the rest read on.
fn check(mut value: Value) -> (Option<Config>, Vec<(String, String)>) {
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
                (key, unknown_key(unknown, &message))
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
        if !remove(&mut value, &key) {
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
    match WORDS.iter().find_map(|(theirs, ours)| Some((message.split_once(theirs)?.0, ours))) {
        Some((start, ours)) => format!("{start}{ours}"),
        None => message.to_owned(),
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

#[cfg(test)]
mod tests {
    use tallow_train::BatchTokens;

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
    fn a_text_stays_a_text() {
        let overrides =
            ["name=7", "model.path=true", "task.0.template={prompt = \"{{ a }}\", target = \"{{ b }}\"}"];
        let config = try_load(GOOD, &overrides).unwrap();
        assert_eq!((config.name.as_str(), config.model.path.as_path()), ("7", Path::new("true")));
        assert!(matches!(config.task().template, super::super::TemplateChoice::Inline(_)));
    }

    #[test]
    fn all_problems_come_together_with_their_lines() {
        let text = GOOD.replace("steps = 3", "stepps = 3\nlearning_rate = \"high\"\nbeta1 = 2.0").replace(
            "train = \"rows.jsonl\"",
            "train = \"rows.jsonl\"\nmax_sauce_tokens = 3\ntemplat = \"x\"",
        );
        assert_eq!(
            try_load(&text, &["method.kind=lora", "method.rnak=3", "nonsense"]).unwrap_err(),
            "c.toml: 8 problems\n  \
             `nonsense`: an override has the form key=value\n  \
             `method.rnak=3`: is not a known key; did you mean `rank`?\n  \
             c.toml:7: training.steps: neither steps nor epochs is given\n  \
             c.toml:8: training.stepps: is not a known key; did you mean `steps`?\n  \
             c.toml:9: training.learning_rate: invalid type: string \"high\", expected a number\n  \
             c.toml:10: training.beta1: must lie in [0, 1)\n  \
             c.toml:15: task.0.max_sauce_tokens: is not a known key; did you mean `max_source_tokens`?\n  \
             c.toml:16: task.0.templat: is not a known key; did you mean `template`?"
        );
    }

    #[test]
    fn a_wrong_type_names_its_key_even_where_serde_names_the_section() {
        let error = |overrides: &[&str]| try_load(GOOD, overrides).unwrap_err();
        assert_eq!(
            error(&["method.kind=lora", "method.rank=abc", "method.alpha=[]"]),
            "c.toml: 2 problems\n  \
             `method.alpha=[]`: invalid type: sequence, expected a number\n  \
             `method.rank=abc`: invalid type: string \"abc\", expected a whole number from 0"
        );
        assert_eq!(
            error(&["training.steps=five"]),
            "c.toml: 1 problem\n  \
             `training.steps=five`: invalid type: string \"five\", expected a whole number from 0"
        );
        assert_eq!(
            error(&["model=x"]),
            "c.toml: 1 problem\n  `model=x`: invalid type: string \"x\", expected a section"
        );
        assert_eq!(error(&["method.rank=4"]), "c.toml: 1 problem\n  c.toml: method.kind: is missing");
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
    fn every_config_that_comes_along_is_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let paths = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let paths = paths(folder.join("tasks")).chain(paths(folder));
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
        paths.sort();
        assert!(!paths.is_empty());
        for path in paths {
            let config = load(&path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
            println!("{}: the run {}", path.file_name().unwrap().display(), config.name);
            // A config that comes along sets nothing that a resolved one cannot say.
            let resolved = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<Config>(&resolved).unwrap(), config);
        }
    }

    /// A comment that shows how a config is used with other sizes is right, too.
    #[test]
    fn every_command_in_a_configs_comments_is_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut commands = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let (text, name) = (std::fs::read_to_string(&path).unwrap(), path.file_name().unwrap().display());
            for command in text.lines().filter_map(|line| line.strip_prefix("#   tallow train ")) {
                let mut words = command.split(' ');
                assert_eq!(words.next().unwrap(), format!("configs/{name}"));
                let overrides: Vec<String> = words.map(str::to_owned).collect();
                let config = load(&path, &overrides).unwrap_or_else(|error| panic!("{error:#}"));
                let (size, steps) = (config.training.batch_size.unwrap(), config.training.accumulation);
                assert_eq!(size * steps, 32, "{command}");
                commands += 1;
            }
        }
        assert_eq!(commands, 12);
    }

    #[test]
    fn a_name_on_the_hub_is_checked_with_everything_else() {
        assert_eq!(
            try_load(GOOD, &["model.path=hf://tiny/", "task.0.train=hf://datasets/a/b/../c"]).unwrap_err(),
            "c.toml: 2 problems\n  \
             `model.path=hf://tiny/`: hf://tiny/: give owner and name, as in hf://google/flan-t5-small\n  \
             `task.0.train=hf://datasets/a/b/../c`: hf://datasets/a/b/../c: what follows the repository is no file in it"
        );
        assert!(try_load(GOOD, &["model.path=hf://google/flan-t5-small@v1"]).is_ok());
    }

    /// The reference lists each key once, set or behind a `#`, and what it sets is the default.
    #[test]
    fn the_reference_has_every_key_and_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
        let page = std::fs::read_to_string(path).unwrap();
        let text = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let config = try_load(text, &[]).unwrap();
        let needed = r#"
            name = "my-run"
            model = { path = "models/flan-t5-small" }
            training = { steps = 1000 }
            [[task]]
            name = "dialogue-summary"
            train = "data/dialogsum/dialogsum.train.jsonl"
            template = "dialogue-summary"
        "#;
        assert_eq!(config, try_load(needed, &[]).unwrap());

        // Every line behind a `#` that reads like a key is one, at its place.
        let all = text.replace("\n# ", "\n");
        let all: toml::Table = all.parse().unwrap();
        let (config, problems) = super::check(toml::Value::Table(all.clone()));
        let rivals = ["epochs", "batch_tokens", "validation_fraction"].map(|key| format!(".{key}"));
        assert!(
            problems.iter().all(|(key, _)| rivals.iter().any(|rival| key.ends_with(rival))),
            "{problems:?}"
        );
        assert_eq!(toml::Table::try_from(config.unwrap()).unwrap(), all, "a key is not there");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = try_load("name = \"x\"\nthreads = -1\n", &[]).unwrap_err();
        assert_eq!(
            error,
            "c.toml: 4 problems\n  \
             c.toml: model: is missing\n  \
             c.toml: task: is missing\n  \
             c.toml: training.steps: neither steps nor epochs is given\n  \
             c.toml:2: threads: invalid value: integer `-1`, expected a whole number from 0"
        );
        let error = try_load(&GOOD.replace("train = ", "test = "), &[]).unwrap_err();
        assert_eq!(error, "c.toml: 1 problem\n  c.toml:10: task.0.train: is missing");
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = try_load("name = \"x\"\n[model\n", &[]).unwrap_err();
        assert!(error.starts_with("c.toml: 1 problem\n  c.toml:2: "), "{error}");
    }
}
