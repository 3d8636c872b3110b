//! Rows of files as examples, read anew as often as they are wanted: none but the one at hand is held.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Result;
use crate::prompts::{Example, Prompts};
use crate::read::Source;
use crate::row::{Origin, Row};
use crate::split::split_fraction;

/// Whatever hands over examples, the same ones each time.
pub trait Examples {
    /// Hands over every example, in order.
    ///
    /// # Errors
    ///
    /// What is wrong with the rows, or what `take` says; nothing is handed over behind an error.
    fn each(&self, take: &mut dyn FnMut(Example) -> Result<()>) -> Result<()>;

    /// All examples, or the first so many of them; every row is checked all the same.
    ///
    /// # Errors
    ///
    /// Those of [`each`](Self::each).
    fn collect(&self, most: Option<usize>) -> Result<Vec<Example>> {
        let mut examples = Vec::new();
        self.each(&mut |example| {
            if most.is_none_or(|most| examples.len() < most) {
                examples.push(example);
            }
            Ok(())
        })?;
        Ok(examples)
    }
}

impl Examples for [Example] {
    fn each(&self, take: &mut dyn FnMut(Example) -> Result<()>) -> Result<()> {
        self.iter().cloned().try_for_each(take)
    }
}

impl Examples for Vec<Example> {
    fn each(&self, take: &mut dyn FnMut(Example) -> Result<()>) -> Result<()> {
        self.as_slice().each(take)
    }
}

/// Files of rows and what makes examples of them.
#[derive(Debug, Clone)]
pub struct Dataset {
    source: Arc<Source>,
    prompts: Arc<Prompts>,
    part: Part,
}

/// Which of the rows.
#[derive(Debug, Clone)]
enum Part {
    All,
    /// Those of these numbers, in order of the files.
    In(Arc<HashSet<usize>>),
    NotIn(Arc<HashSet<usize>>),
}

impl Part {
    fn has(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::In(rows) => rows.contains(&index),
            Self::NotIn(rows) => !rows.contains(&index),
        }
    }
}

impl Dataset {
    /// All rows of a source.
    pub fn new(source: Source, prompts: Prompts) -> Self {
        Self { source: source.into(), prompts: prompts.into(), part: Part::All }
    }

    /// The rows to train on and those held out, by [`split_fraction`]; reads all rows to count them.
    ///
    /// # Errors
    ///
    /// A row that cannot be read, or a fraction that does not lie between 0 and 1.
    pub fn split(self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let count = self.rows().try_fold(0, |count, row| row.map(|_| count + 1))?;
        let (_, held_out) = split_fraction(count, fraction, seed)?;
        let held_out: Arc<HashSet<usize>> = Arc::new(held_out.into_iter().collect());
        let training = Self { part: Part::NotIn(held_out.clone()), ..self.clone() };
        Ok((training, Self { part: Part::In(held_out), ..self }))
    }

    /// The rows, as the files have them but for renamed columns.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row>> {
        let rows = self.source.rows().enumerate();
        rows.filter(|(index, _)| self.part.has(*index)).map(|(_, row)| row)
    }

    /// The examples of the first rows, as many as are asked for; no other rows are read.
    ///
    /// # Errors
    ///
    /// Those of [`Prompts::examples`].
    pub fn first(&self, count: usize) -> Result<Vec<Example>> {
        self.prompts.examples(self.rows().take(count))
    }

    /// Where the row of a number stands, from 0; for messages, since files are read up to there.
    pub fn origin(&self, row: usize) -> Option<Origin> {
        Some(self.rows().nth(row)?.ok()?.origin)
    }
}

impl Examples for Dataset {
    fn each(&self, take: &mut dyn FnMut(Example) -> Result<()>) -> Result<()> {
        self.prompts.each(self.rows(), take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::Targets;
    use crate::templates::TemplateSet;
    use std::collections::BTreeMap;

    /// Rows {"a": i}, a line each.
    fn dataset(folder: &tempfile::TempDir, count: usize) -> Dataset {
        let file = folder.path().join("rows.jsonl");
        let lines: String = (0..count).map(|i| format!("{{\"a\": {i}}}\n")).collect();
        std::fs::write(&file, lines).unwrap();
        let set = TemplateSet::inline("row {{ a }}", "{{ a }}").unwrap();
        Dataset::new(Source::new(&file, &BTreeMap::new()).unwrap(), Prompts::new(set, Targets::Template, 0))
    }

    fn targets(examples: &[Example]) -> Vec<usize> {
        examples.iter().map(|example| example.target.parse().unwrap()).collect()
    }

    #[test]
    fn examples_come_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let rows = dataset(&folder, 5);
        for _ in 0..2 {
            assert_eq!(targets(&rows.collect(None).unwrap()), [0, 1, 2, 3, 4]);
        }
        assert_eq!(targets(&rows.collect(Some(2)).unwrap()), [0, 1]);
        assert_eq!(targets(&rows.first(3).unwrap()), [0, 1, 2]);
        assert_eq!(rows.origin(3).unwrap().line, 4);
        assert_eq!(rows.origin(5), None);
    }

    #[test]
    fn parts_are_those_of_the_split() {
        let folder = tempfile::tempdir().unwrap();
        let (training, held_out) = dataset(&folder, 12).split(0.25, 42).unwrap();
        let (of_training, of_held_out) = split_fraction(12, 0.25, 42).unwrap();
        assert_eq!(targets(&training.collect(None).unwrap()), of_training);
        assert_eq!(targets(&held_out.collect(None).unwrap()), of_held_out);
        assert_eq!(held_out.origin(1).unwrap().line, of_held_out[1] + 1);
    }

    #[test]
    fn nothing_follows_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let rows = dataset(&folder, 3);
        std::fs::write(folder.path().join("rows.jsonl"), "{\"a\": 1}\n{\"b\": 2}\n{\"a\": 3}\n").unwrap();
        let mut seen = 0;
        let message = rows.each(&mut |_| {
            seen += 1;
            Ok(())
        });
        assert!(message.unwrap_err().to_string().contains("`a` is missing in 1 of 3 rows"));
        assert_eq!(seen, 1);
    }
}
