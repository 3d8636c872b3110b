use std::collections::BTreeMap;

use serde::Serialize;
use tallow_data::Example;

/// Targets that tokens cannot write.
#[derive(Default, Serialize)]
pub struct Lost {
    pub rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// What is lost, to rows.
    pub lost: BTreeMap<String, usize>,
}

/// What line breaks are called.
pub const LINE_BREAKS: &str = "line breaks";

impl Lost {
    /// Counts a row whose target reads as `found` behind its tokens.
    pub fn count(&mut self, example: &Example, found: &str) {
        self.rows += 1;
        self.first.get_or_insert_with(|| example.origin.to_string());
        let mut lost: Vec<String> = Vec::new();
        for character in example.target.chars().filter(|character| !found.contains(*character)) {
            let name = match character {
                '\n' | '\r' => LINE_BREAKS.to_owned(),
                other if other.is_whitespace() => "blanks other than the space".to_owned(),
                other if other.is_control() => other.escape_debug().to_string(),
                other => other.to_string(),
            };
            if !lost.contains(&name) {
                lost.push(name);
            }
        }
        if lost.is_empty() {
            lost.push("runs of blanks, or characters that are written otherwise".to_owned());
        }
        lost.into_iter().for_each(|name| *self.lost.entry(name).or_default() += 1);
    }
}
