//! What the rows look like through the tokenizer: how long, and how much of a summary can be copied.

use std::collections::HashSet;
use std::fmt;

use anyhow::{Result, anyhow};
use tokenizers::Tokenizer;

use crate::rows::Rows;
use crate::scenes::Scenes;

/// Means over the training rows.
#[derive(Debug)]
pub struct Stats {
    scenes: usize,
    variety: f64,
    words: usize,
    pieces: usize,
    dialogue_tokens: (f64, usize),
    summary_tokens: (f64, usize),
    copied: f64,
}

impl Stats {
    /// Measures the training rows.
    pub fn measure(scenes: &Scenes, rows: &Rows, tokenizer: &Tokenizer) -> Result<Self> {
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(str::to_lowercase)
                .collect()
        };
        let tokens = |texts: Vec<&str>| -> Result<(f64, usize)> {
            let counts = texts
                .iter()
                .map(|text| Ok(tokenizer.encode(*text, true).map_err(|e| anyhow!(e))?.len()))
                .collect::<Result<Vec<_>>>()?;
            let longest = counts.iter().copied().max().unwrap_or(0);
            Ok((counts.iter().sum::<usize>() as f64 / counts.len() as f64, longest))
        };
        let (mut copied, mut total) = (0, 0);
        for row in &rows.train {
            let source: HashSet<String> = words(&row.dialogue).into_iter().collect();
            let summary = words(&row.summary);
            copied += summary.iter().filter(|word| source.contains(*word)).count();
            total += summary.len();
        }
        let distinct: HashSet<String> = rows.dialogues().chain(rows.summaries()).flat_map(words).collect();
        Ok(Self {
            scenes: scenes.scenes.len(),
            variety: scenes.variety()?,
            words: distinct.len(),
            pieces: tokenizer.get_vocab_size(true),
            dialogue_tokens: tokens(rows.train.iter().map(|row| row.dialogue.as_str()).collect())?,
            summary_tokens: tokens(rows.train.iter().map(|row| row.summary.as_str()).collect())?,
            copied: copied as f64 / total as f64,
        })
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "scenes                              {}", self.scenes)?;
        writeln!(f, "different dialogues, at least       10^{:.1}", self.variety)?;
        writeln!(f, "distinct words                      {}", self.words)?;
        writeln!(f, "pieces of the tokenizer             {}", self.pieces)?;
        let (mean, longest) = self.dialogue_tokens;
        writeln!(f, "tokens of a dialogue                mean {mean:.1}, longest {longest}")?;
        let (mean, longest) = self.summary_tokens;
        writeln!(f, "tokens of a summary                 mean {mean:.1}, longest {longest}")?;
        write!(f, "words of a summary in its dialogue  {:.1}%", 100.0 * self.copied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_short_and_summaries_mostly_copied() {
        let scenes = Scenes::load().unwrap();
        let tokenizer = crate::tokenizer::make(&scenes, crate::SEED).unwrap();
        let stats = Stats::measure(&scenes, &Rows::draw(&scenes, crate::SEED).unwrap(), &tokenizer).unwrap();
        assert!(stats.dialogue_tokens.0 <= 100.0 && stats.summary_tokens.0 <= 25.0, "{stats}");
        assert!(stats.copied > 0.6, "{stats}");
    }
}
