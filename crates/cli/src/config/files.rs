use std::path::Path;

use tallow_data::{Error, files, holds_rows};

use tallow_hub::{Kind, Name, is_name};

use super::Config;
use crate::hub::meant;

/// Which of the files that a config names a command reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reads {
    /// None: the settings are all.
    Nothing,
    /// The model's.
    Model,
    /// The model's, the tokenizer's, and those with the rows that generated text is measured on.
    HeldOut,
    /// Every one.
    All,
}

/// What is not there, or not what it should be, by key.
pub fn missing(config: &Config, reads: Reads) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut put = |key: &str, what: Option<String>| found.extend(what.map(|what| (key.to_owned(), what)));
    let (model, task) = (&config.model, config.task.first());
    if reads != Reads::Nothing {
        put("model.path", model_problem(&model.path));
    }
    if let (Reads::HeldOut | Reads::All, Some(task)) = (reads, task) {
        put("model.tokenizer", model.tokenizer.as_deref().and_then(file_problem));
        // The rows that are held out are the test's, or come of the others.
        if reads == Reads::All || task.test.is_none() {
            put("task.0.train", rows_problem(&task.train));
            put("task.0.validation", task.validation.as_deref().and_then(rows_problem));
        }
        put("task.0.test", task.test.as_deref().and_then(rows_problem));
    }
    found
}

/// What is wrong with a model's folder, if it is none.
pub fn model_problem(path: &Path) -> Option<String> {
    if is_name(path) {
        return repository_problem(path);
    }
    let folder = path.display();
    (!path.is_dir()).then(|| {
        format!(
            "{folder}: no such folder; a model is one with config.json, model.safetensors and tokenizer.json{}",
            meant(path)
        )
    })
}

/// What is wrong with a file, if it is none.
pub fn file_problem(path: &Path) -> Option<String> {
    match path.is_dir() {
        _ if is_name(path) => file_name_problem(path).err(),
        true => Some(format!("{}: a folder, not a file", path.display())),
        false if path.exists() => None,
        false => Some(Error::FileNotFound { path: path.into() }.to_string()),
    }
}

/// What is wrong with a name of files of rows, as far as it can be said without reading them.
pub fn rows_problem(name: &Path) -> Option<String> {
    if is_name(name) {
        return match file_name_problem(name) {
            Ok(file) if holds_rows(Path::new(&file)) => None,
            Ok(_) => Some(Error::UnknownKind { path: name.into() }.to_string()),
            Err(problem) => Some(problem),
        };
    }
    let files = match files(name) {
        Ok(files) => files,
        Err(error) => return Some(error.to_string()),
    };
    files.iter().find_map(|path| match path.is_dir() {
        true => {
            let all = path.join("*.jsonl");
            Some(format!(
                "{}: a folder: name a file in it, or all by a pattern, {}",
                path.display(),
                all.display()
            ))
        }
        false if !holds_rows(path) => Some(Error::UnknownKind { path: path.clone() }.to_string()),
        false => file_problem(path),
    })
}

/// What is wrong with a name on the Hub as that of a model or an adapter.
pub fn repository_problem(path: &Path) -> Option<String> {
    let name = path.display();
    match path.to_string_lossy().parse::<Name>() {
        Ok(Name { kind: Kind::Model, file: None, .. }) => None,
        Ok(_) => Some(format!("{name}: give a repository of a model, as in hf://google/flan-t5-small")),
        Err(error) => Some(error.to_string()),
    }
}

/// The file that a name on the Hub is of, or what is wrong with it.
fn file_name_problem(path: &Path) -> Result<String, String> {
    let name: Name = path.to_string_lossy().parse().map_err(|error: tallow_hub::Error| error.to_string())?;
    name.file.ok_or_else(|| {
        format!("{}: name a file in it, as in hf://datasets/knkarthick/dialogsum/train.csv", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_reading;
    use crate::config::tests::GOOD;

    #[test]
    fn files_are_missed_by_those_who_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let say = |reads: Reads, more: &str| {
            let text = GOOD.replace("\"model\"", &format!("{:?}", at("model")));
            let text = text.replace("\"rows.jsonl\"", &format!("{:?}\n{more}", at("rows.jsonl")));
            std::fs::write(at("c.toml"), text).unwrap();
            let found = load_reading(&at("c.toml"), &[], reads).map(drop);
            let text = found.err().map(|error| error.to_string()).unwrap_or_default();
            let keys = text.lines().skip(1).map(|line| line.split(": ").nth(1).unwrap().to_owned());
            keys.collect::<Vec<_>>()
        };
        let test = format!("test = {:?}", at("test-*.csv"));
        assert!(say(Reads::Nothing, &test).is_empty());
        assert_eq!(say(Reads::Model, &test), ["model.path"]);
        assert_eq!(say(Reads::HeldOut, &test), ["model.path", "task.0.test"]);
        assert_eq!(say(Reads::HeldOut, ""), ["model.path", "task.0.train"]);
        assert_eq!(say(Reads::All, &test), ["model.path", "task.0.train", "task.0.test"]);
        std::fs::create_dir(at("model")).unwrap();
        std::fs::create_dir(at("rows.jsonl")).unwrap();
        std::fs::write(at("test-1.csv"), "").unwrap();
        assert_eq!(say(Reads::All, &test), ["task.0.train"]);
        std::fs::remove_dir(at("rows.jsonl")).unwrap();
        std::fs::write(at("rows.jsonl"), "").unwrap();
        assert!(say(Reads::All, &test).is_empty());
    }
}
