//! Examples to token rows, with an account of what was lost on the way.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dataset::Examples;
use crate::error::Result;
use crate::prompts::Example;
use crate::samples::{Sample, Samples};
use crate::tokenizer::{AT_A_TIME, Encoded, Tokenizer};

/// How many tokens a row may have on each side, end token included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a prompt.
    pub source: usize,
    /// Of a target.
    pub target: usize,
}

/// What tokenisation did to one side of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideStats {
    /// Tokens that are left.
    pub tokens: usize,
    /// Tokens of the longest row, before it was cut.
    pub longest: usize,
    /// Rows that were cut.
    pub rows_cut: usize,
    /// Tokens that were cut, over all rows.
    pub tokens_cut: usize,
    /// Rows that keep a character which the vocabulary does not have: T5's has no braces, no backslash, ...
    pub rows_unknown: usize,
}

/// What tokenisation did to the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStats {
    /// Rows on each side.
    pub rows: usize,
    /// The prompts.
    pub source: SideStats,
    /// The targets.
    pub target: SideStats,
    /// Uncut targets that do not come back from their tokens as they were: characters the vocabulary does not have,
    /// and newlines or runs of blanks, which become one blank. A model cannot learn to write them.
    pub targets_changed: usize,
}

impl SideStats {
    fn count(&mut self, encoded: &Encoded, unknown: Option<u32>) {
        self.tokens += encoded.ids.len();
        self.longest = self.longest.max(encoded.ids.len() + encoded.cut);
        self.rows_cut += usize::from(encoded.cut > 0);
        self.tokens_cut += encoded.cut;
        self.rows_unknown += usize::from(unknown.is_some_and(|unknown| encoded.ids.contains(&unknown)));
    }
}

impl fmt::Display for SideStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, longest, rows_cut, tokens_cut, rows_unknown } = self;
        write!(f, "{tokens} tokens, longest {longest}")?;
        if *rows_cut > 0 {
            write!(f, ", {rows_cut} rows cut by {tokens_cut} tokens")?;
        }
        if *rows_unknown > 0 {
            write!(f, ", {rows_unknown} rows with unknown characters")?;
        }
        Ok(())
    }
}

impl fmt::Display for TokenStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows; source: {}; target: {}", self.rows, self.source, self.target)?;
        match self.targets_changed {
            0 => Ok(()),
            changed => write!(f, "; {changed} targets read differently after tokenisation"),
        }
    }
}

impl Tokenizer {
    /// Tokenises examples, cutting each side to its limit; on all cores, in order.
    ///
    /// # Errors
    ///
    /// Those of the examples, and of [`encode`](Self::encode).
    pub fn tokenize(
        &self,
        examples: &(impl Examples + ?Sized),
        limits: Limits,
    ) -> Result<(Samples, TokenStats)> {
        let mut samples = Vec::new();
        let stats = self.tokenize_each(examples, limits, &mut |sample| {
            samples.push(sample);
            Ok(())
        })?;
        Ok((samples.into(), stats))
    }

    /// [`tokenize`](Self::tokenize), each row handed over as soon as it is made.
    pub(crate) fn tokenize_each(
        &self,
        examples: &(impl Examples + ?Sized),
        limits: Limits,
        take: &mut dyn FnMut(Sample) -> Result<()>,
    ) -> Result<TokenStats> {
        let (mut stats, mut waiting) = (TokenStats::default(), Vec::with_capacity(AT_A_TIME));
        let mut part = |examples: &mut Vec<Example>| -> Result<()> {
            let prompts: Vec<&str> = examples.iter().map(|example| example.prompt.as_str()).collect();
            let targets: Vec<&str> = examples.iter().map(|example| example.target.as_str()).collect();
            let sources = self.encode_batch(&prompts, limits.source)?;
            let targets = self.encode_targets(&targets, limits.target)?;
            for ((source, target), example) in sources.into_iter().zip(targets).zip(examples.drain(..)) {
                stats.rows += 1;
                stats.source.count(&source, self.unknown_id());
                stats.target.count(&target, self.unknown_id());
                let changed = target.cut == 0 && self.changed(&example.target, &target.ids)?.is_some();
                stats.targets_changed += usize::from(changed);
                take(Sample { source: source.ids, target: target.ids })?;
            }
            Ok(())
        };
        examples.each(&mut |example| {
            waiting.push(example);
            match waiting.len() {
                AT_A_TIME => part(&mut waiting),
                _ => Ok(()),
            }
        })?;
        part(&mut waiting)?;
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Origin;
    use crate::tokenizer::tests::tiny;
    use std::path::Path;

    fn example(prompt: &str, target: &str) -> Example {
        let origin = Origin::new(Path::new("rows.jsonl"), 1);
        Example {
            prompt: prompt.into(),
            target: target.into(),
            references: vec![target.into()],
            origin,
            template: "inline".into(),
        }
    }

    #[test]
    fn samples_and_their_statistics() {
        let examples = [
            example("the cats sat.", "the cat"),
            example("the dog", "{"),
            example("cat", "the cats sat."),
            example("cat", "a{}a sat"),
        ];
        let (samples, stats) = tiny().tokenize(&examples[..], Limits { source: 5, target: 4 }).unwrap();
        let samples = samples.read_all().unwrap();
        assert_eq!(samples[0], Sample { source: vec![4, 5, 6, 7, 1], target: vec![4, 5, 1] });
        assert_eq!(samples[0].lengths(), (5, 3));
        assert_eq!(samples[2].target, [4, 5, 6, 1]);
        let side = |tokens, longest, rows_cut, tokens_cut, rows_unknown| SideStats {
            tokens,
            longest,
            rows_cut,
            tokens_cut,
            rows_unknown,
        };
        let source = side(5 + 4 + 2 + 2, 6, 1, 1, 1);
        let target = side(3 + 3 + 4 + 4, 6, 2, 4, 2);
        assert_eq!(stats, TokenStats { rows: 4, source, target, targets_changed: 1 });
    }

    #[test]
    fn statistics_in_words() {
        let (_, stats) =
            tiny().tokenize(&[example("the cat", "cats")][..], Limits { source: 9, target: 9 }).unwrap();
        assert_eq!(stats.to_string(), "1 rows; source: 3 tokens, longest 3; target: 3 tokens, longest 3");
        let (_, stats) =
            tiny().tokenize(&[example("the dog", "the x")][..], Limits { source: 2, target: 9 }).unwrap();
        assert_eq!(
            stats.to_string(),
            "1 rows; source: 2 tokens, longest 4, 1 rows cut by 2 tokens; target: 4 tokens, longest 4, \
             1 rows with unknown characters; 1 targets read differently after tokenisation"
        );
    }
}
