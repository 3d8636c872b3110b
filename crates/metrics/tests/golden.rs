//! Every figure and token recorded from `rouge_score` 0.1.2, compared with `==`.
//!
//! The rows are in `tests/golden/metrics` of the workspace. More of the same forms are tested as well from the folder
//! that the environment variable `TALLOW_METRIC_GOLDENS` names, if it is set: all of its `rouge*.jsonl`.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tallow_metrics::rouge::tokenize;
use tallow_metrics::{References, Rouge, RougeType, Score};

type Row = Map<String, Value>;

#[test]
fn committed_rows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/metrics");
    let figures = check_file(&folder.join("rouge_own.jsonl"));
    let tokens = check_file(&folder.join("rouge_tokens.jsonl"));
    assert_eq!((figures, tokens), (135, 240));
}

#[test]
fn further_rows() {
    let Some(folder) = std::env::var_os("TALLOW_METRIC_GOLDENS").map(PathBuf::from) else { return };
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| is_golden(path)).collect();
    files.sort();
    assert!(!files.is_empty(), "no rouge*.jsonl in {}", folder.display());
    for file in files {
        check_file(&file);
    }
}

fn is_golden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("rouge") && name.ends_with(".jsonl")
}

/// Checks each row of a file by the form its keys show, and gives the number of rows.
fn check_file(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows = 0;
    for (index, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), index + 1);
        let row: Row = serde_json::from_str(line).unwrap_or_else(|error| panic!("{place}: {error}"));
        match (row.contains_key("prediction"), row.contains_key("tokens")) {
            (true, false) => check_figures(&row, &place),
            (false, true) => check_tokens(&row, &place),
            _ => panic!("{place}: neither a row of figures nor one of tokens: {line}"),
        }
        rows += 1;
    }
    assert!(rows > 0, "{} has no rows", path.display());
    // Written rather than printed, so that a passing run shows what it compared.
    let mut report = std::io::stderr();
    writeln!(report, "{}: {rows} rows", path.file_name().unwrap().display()).unwrap();
    rows
}

/// A row of `text`, `tokens` and `tokens_stem`.
fn check_tokens(row: &Row, place: &str) {
    only_labels_beside(row, &["text", "tokens", "tokens_stem"], place);
    let text = string(field(row, "text", place), place);
    for (key, stemmer) in [("tokens", false), ("tokens_stem", true)] {
        assert_eq!(tokenize(text, stemmer), strings(field(row, key, place), place), "{place}: {key}");
    }
}

/// A row of `prediction`, `reference` or `references`, and by type the figures `plain` and `stem`.
fn check_figures(row: &Row, place: &str) {
    only_labels_beside(row, &["prediction", "reference", "references", "plain", "stem"], place);
    let prediction = string(field(row, "prediction", place), place);
    let references = match (row.get("reference"), row.get("references")) {
        (Some(reference), None) => vec![string(reference, place)],
        (None, Some(references)) => strings(references, place),
        _ => panic!("{place}: wants either `reference` or `references`"),
    };
    for (key, stemmer) in [("plain", false), ("stem", true)] {
        let figures = field(row, key, place).as_object().filter(|figures| !figures.is_empty());
        let figures = figures.unwrap_or_else(|| panic!("{place}: `{key}` has no figures"));
        let types: Vec<RougeType> = figures
            .keys()
            .map(|name| name.parse().unwrap_or_else(|error| panic!("{place}: {error}")))
            .collect();
        let expected: Vec<Score> = figures
            .values()
            .map(|value| {
                serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{place}: {error}"))
            })
            .collect();
        let rouge = Rouge { types, stemmer };
        let best = rouge.score_multi(&references, prediction, References::Best).unwrap();
        assert_eq!(best, expected, "{place}: {key}, {:?}", rouge.types);
        if let [reference] = references[..] {
            assert_eq!(rouge.score(reference, prediction), expected, "{place}: {key}, {:?}", rouge.types);
            let mean = rouge.score_multi(&references, prediction, References::Mean).unwrap();
            assert_eq!(mean, expected, "{place}: {key}, {:?}", rouge.types);
        }
    }
}

/// Whatever else a row has must be a label such as its number; a list or an object would be figures left untested.
fn only_labels_beside(row: &Row, known: &[&str], place: &str) {
    for (key, value) in row {
        let label = !value.is_array() && !value.is_object();
        assert!(label || known.contains(&key.as_str()), "{place}: nothing tests `{key}`");
    }
}

fn field<'a>(row: &'a Row, key: &str, place: &str) -> &'a Value {
    row.get(key).unwrap_or_else(|| panic!("{place}: no `{key}`"))
}

fn string<'a>(value: &'a Value, place: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{place}: {value} should be a string"))
}

fn strings<'a>(value: &'a Value, place: &str) -> Vec<&'a str> {
    let list = value.as_array().unwrap_or_else(|| panic!("{place}: {value} should be a list"));
    list.iter().map(|item| string(item, place)).collect()
}
