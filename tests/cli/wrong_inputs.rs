//! What is said of wrong inputs, word for word: exit code, then the message. Each is a sentence or a list that fits a
//! screen, none is a panic, and nothing on disk changes.
//!
//! Where a message has changed for the better, `cargo insta test --accept` writes it here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::{Outcome, Place};

#[path = "wrong_inputs/adapters.rs"]
mod adapters;
#[path = "wrong_inputs/command_line.rs"]
mod command_line;
#[path = "wrong_inputs/configs.rs"]
mod configs;
#[path = "wrong_inputs/devices.rs"]
mod devices;
#[path = "wrong_inputs/files.rs"]
mod files;
#[path = "wrong_inputs/generating.rs"]
mod generating;
#[path = "wrong_inputs/methods.rs"]
mod methods;
#[path = "wrong_inputs/models.rs"]
mod models;
#[path = "wrong_inputs/rows.rs"]
mod rows;
#[path = "wrong_inputs/runs.rs"]
mod runs;

/// A screen.
const LINES: usize = 24;
const COLUMNS: usize = 100;

/// What a command comes to that must fail: `EXIT CODE: MESSAGE`.
#[track_caller]
fn wrong(place: &Place, line: &str) -> String {
    checked(place, || place.run(line))
}

/// The same, with arguments that may hold blanks.
#[track_caller]
fn wrong_with(place: &Place, line: &str, more: &[&str]) -> String {
    checked(place, || place.run_with(line, more))
}

/// The same, with a text as standard input.
#[track_caller]
fn wrong_reading(place: &Place, line: &str, input: &str) -> String {
    checked(place, || place.run_reading(line, input))
}

#[track_caller]
fn checked(place: &Place, run: impl FnOnce() -> Outcome) -> String {
    let before = tree(&place.path(""));
    let outcome = run();
    let text = format!("{}: {}", outcome.code, outcome.error());
    assert!([1, 2].contains(&outcome.code), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(outcome.stdout, "", "{text}");
    let lines: usize = text.lines().map(|line| line.chars().count().div_ceil(COLUMNS).max(1)).sum();
    assert!(lines <= LINES, "{lines} lines:\n{text}");
    let after = tree(&place.path(""));
    let changed = before.iter().chain(&after).find(|(path, _)| before.get(*path) != after.get(*path));
    assert_eq!(changed.map(|(path, _)| path), None, "{text}");
    text
}

/// Everything below a folder: files with their bytes, and folders.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = path.is_file().then(|| std::fs::read(&path).unwrap());
            if bytes.is_none() {
                folders.push(path.clone());
            }
            found.insert(path, bytes);
        }
    }
    found
}
