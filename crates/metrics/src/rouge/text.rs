use std::collections::HashMap;

use super::tokenize;

/// Numbers for tokens, so that texts are compared as numbers. Only texts of one vocabulary can be compared.
#[derive(Default)]
pub(super) struct Vocabulary(HashMap<String, usize>);

/// A tokenised text.
pub(super) struct Text {
    /// The tokens of each line; a line without tokens is an empty one.
    pub(super) lines: Vec<Vec<usize>>,
    /// The tokens of all lines, in order: to every other measure than ROUGE-Lsum a newline is only a separator.
    pub(super) tokens: Vec<usize>,
}

impl Vocabulary {
    pub(super) fn text(&mut self, text: &str, stemmer: bool) -> Text {
        let lines: Vec<Vec<usize>> = text
            .split('\n')
            .map(|line| tokenize(line, stemmer).into_iter().map(|token| self.number(token)).collect())
            .collect();
        Text { tokens: lines.concat(), lines }
    }

    fn number(&mut self, token: String) -> usize {
        let next = self.0.len();
        *self.0.entry(token).or_insert(next)
    }
}
