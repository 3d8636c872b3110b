//! The word lists that fill the slots of the scenes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The values that a slot may take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// What a question calls the values ("day"); a list without a label is never asked about.
    pub label: Option<String>,
    /// The values, as they stand inside a sentence.
    pub values: Vec<String>,
}

/// All word lists, by name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Words(BTreeMap<String, List>);

impl Words {
    /// Reads the lists that ship with the crate.
    pub fn load() -> Result<Self> {
        toml::from_str(include_str!("../scenes/words.toml")).context("scenes/words.toml")
    }

    /// The list called `name`.
    pub fn list(&self, name: &str) -> Result<&List> {
        self.0.get(name).with_context(|| format!("scenes/words.toml has no list {name:?}"))
    }

    /// The distinct values of all lists labelled `label` that occur in `text` as whole words.
    pub fn named(&self, label: &str, text: &str) -> Vec<&str> {
        let lists = self.0.values().filter(|list| list.label.as_deref() == Some(label));
        let mut found: Vec<&str> = lists
            .flat_map(|list| &list.values)
            .map(String::as_str)
            .filter(|value| mentions(text, value))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Whether `value` stands in `text` as whole words, its first letter in either case (values may open a sentence).
pub fn mentions(text: &str, value: &str) -> bool {
    let hit = |value: &str| {
        text.match_indices(value).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + value.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
    };
    hit(value) || hit(&capitalised(value))
}

/// `text` with its first letter in upper case.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_whole_words() {
        assert!(mentions("The lake is far.", "the lake"));
        assert!(!mentions("It is shorter.", "short"));
        let words = Words::load().unwrap();
        assert_eq!(words.named("day", "Not on Friday, on Monday."), ["Friday", "Monday"]);
    }
}
