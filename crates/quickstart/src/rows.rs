//! The rows to train and measure on: dialogues with their summaries.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::dialogue::Source;
use crate::random::Draw;
use crate::scenes::Scenes;

const TRAIN: usize = 600;
const VALIDATION: usize = 60;
const TEST: usize = 100;

/// A dialogue with one summary.
#[derive(Debug, PartialEq, Serialize)]
pub struct Row {
    /// File and number.
    pub id: String,
    /// The dialogue, a line for each turn.
    pub dialogue: String,
    /// One of its summaries.
    pub summary: String,
}

/// A dialogue with three references.
#[derive(Debug, PartialEq, Serialize)]
pub struct TestRow {
    /// File and number.
    pub id: String,
    /// The dialogue, a line for each turn.
    pub dialogue: String,
    /// A first reference.
    pub summary1: String,
    /// A second reference.
    pub summary2: String,
    /// A third reference.
    pub summary3: String,
}

/// The three files.
#[derive(Debug, PartialEq)]
pub struct Rows {
    /// Rows to train on.
    pub train: Vec<Row>,
    /// Rows to watch while training.
    pub validation: Vec<Row>,
    /// Rows to measure on.
    pub test: Vec<TestRow>,
}

impl Rows {
    /// Draws all rows; no dialogue occurs twice.
    pub fn draw(scenes: &Scenes, seed: u64) -> Result<Self> {
        let mut source = Source::new(scenes, Draw::new(seed, "rows"), HashSet::new());
        let mut draw = Draw::new(seed, "summaries");
        let mut rows = |name: &str, count: usize| -> Result<Vec<Row>> {
            let mut dialogues = (0..count).map(|_| source.dialogue()).collect::<Result<Vec<_>>>()?;
            draw.shuffle(&mut dialogues);
            let row = |(i, dialogue): (usize, crate::dialogue::Dialogue)| Row {
                id: format!("{name}-{i:03}"),
                dialogue: dialogue.text(),
                summary: draw.pick(&dialogue.summaries).clone(),
            };
            Ok(dialogues.into_iter().enumerate().map(row).collect())
        };
        let (train, validation) = (rows("train", TRAIN)?, rows("validation", VALIDATION)?);

        let mut dialogues = (0..TEST).map(|_| source.dialogue()).collect::<Result<Vec<_>>>()?;
        draw.shuffle(&mut dialogues);
        let mut test = Vec::new();
        for (i, mut dialogue) in dialogues.into_iter().enumerate() {
            draw.shuffle(&mut dialogue.summaries);
            let [summary1, summary2, summary3] = [0, 1, 2].map(|k| dialogue.summaries[k].clone());
            test.push(TestRow {
                id: format!("test-{i:03}"),
                dialogue: dialogue.text(),
                summary1,
                summary2,
                summary3,
            });
        }
        Ok(Self { train, validation, test })
    }

    /// The dialogues of all files.
    pub fn dialogues(&self) -> impl Iterator<Item = &str> {
        let rows = self.train.iter().chain(&self.validation).map(|row| row.dialogue.as_str());
        rows.chain(self.test.iter().map(|row| row.dialogue.as_str()))
    }

    /// The summaries of all files.
    pub fn summaries(&self) -> impl Iterator<Item = &str> {
        let rows = self.train.iter().chain(&self.validation).map(|row| row.summary.as_str());
        rows.chain(
            self.test
                .iter()
                .flat_map(|row| [row.summary1.as_str(), row.summary2.as_str(), row.summary3.as_str()]),
        )
    }

    /// Writes `train.jsonl`, `validation.jsonl` and `test.jsonl` into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_lines(&folder.join("train.jsonl"), &self.train)?;
        write_lines(&folder.join("validation.jsonl"), &self.validation)?;
        write_lines(&folder.join("test.jsonl"), &self.test)
    }
}

/// Writes one JSON object a line, making the folder if need be.
pub fn write_lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, lines(rows)?).with_context(|| format!("cannot write {}", path.display()))
}

fn lines<T: Serialize>(rows: &[T]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_rows_and_another_seed_others() {
        let scenes = Scenes::load().unwrap();
        let draw = |seed| Rows::draw(&scenes, seed).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn no_dialogue_is_in_two_places() {
        let rows = Rows::draw(&Scenes::load().unwrap(), 1).unwrap();
        let distinct: HashSet<_> = rows.dialogues().collect();
        assert_eq!(distinct.len(), TRAIN + VALIDATION + TEST);
    }

    #[test]
    fn the_rows_in_the_repository_are_those_of_the_default_seed() {
        let rows = Rows::draw(&Scenes::load().unwrap(), crate::SEED).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/quickstart");
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("train.jsonl"), lines(&rows.train).unwrap());
        assert_eq!(read("validation.jsonl"), lines(&rows.validation).unwrap());
        assert_eq!(read("test.jsonl"), lines(&rows.test).unwrap());
    }
}
