//! The tasks on which the base is trained before it is released: reading, copying and naming, but never summing a
//! dialogue up. So the base can read, and a LoRA run on the rows has everything about summaries to teach.

mod copying;
mod naming;

use anyhow::Result;
use serde::Serialize;

use crate::dialogue::{Dialogue, Source};
use crate::random::Draw;
use crate::rows::Rows;
use crate::scenes::Scenes;
use crate::words::Words;

/// A prompt and what is to be written for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// An instruction, in most cases with a dialogue.
    pub prompt: String,
    /// The answer.
    pub target: String,
}

/// What a kind of task is made from.
struct Material<'a> {
    dialogue: &'a Dialogue,
    text: &'a str,
    words: &'a Words,
}

/// Makes a task of one kind, or none if the dialogue does not suit it.
type Kind = fn(&Material, &mut Draw) -> Option<Task>;

/// The kinds with their shares; copying outweighs the rest, since a summary copies names and values.
const KINDS: [(usize, Kind); 16] = [
    (5, naming::which_speaker),
    (4, naming::both_speakers),
    (10, copying::numbered_line),
    (8, copying::said_by),
    (8, copying::next_line),
    (8, copying::line_with_word),
    (10, copying::words_after),
    (14, copying::missing_words),
    (2, naming::number_of_lines),
    (10, naming::named_value),
    (16, naming::several_values),
    (8, naming::speaker_and_value),
    (5, naming::line_with_value),
    (4, naming::who_says),
    (6, copying::ordered_words),
    (8, copying::repeated_words),
];

/// The words for the places of lines.
pub const ORDINALS: [&str; 9] =
    ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"];
const NUMBERS: [&str; 9] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// Draws `count` tasks over dialogues that are in none of the rows of the same seed.
pub fn draw(scenes: &Scenes, seed: u64, count: usize) -> Result<Vec<Task>> {
    let rows = Rows::draw(scenes, seed)?;
    let seen = rows.dialogues().map(String::from).collect();
    let mut source = Source::new(scenes, Draw::new(seed, "task dialogues"), seen);
    let mut draw = Draw::new(seed, "tasks");
    let mut tasks = Vec::with_capacity(count);
    while tasks.len() < count {
        let dialogue = source.dialogue()?;
        let text = dialogue.text();
        let material = Material { dialogue: &dialogue, text: &text, words: &scenes.words };
        tasks.push(loop {
            if let Some(task) = kind(&mut draw)(&material, &mut draw) {
                break task;
            }
        });
    }
    Ok(tasks)
}

fn kind(draw: &mut Draw) -> Kind {
    let mut at = draw.below(KINDS.iter().map(|(share, _)| share).sum());
    for (share, kind) in KINDS {
        if at < share {
            return kind;
        }
        at -= share;
    }
    unreachable!("at is below the sum of the shares")
}

/// Puts the instruction before or behind the dialogue.
fn task(instruction: &str, dialogue: &str, target: impl Into<String>, draw: &mut Draw) -> Option<Task> {
    let prompt = match draw.below(5) {
        0 => format!("{instruction}\n\n{dialogue}"),
        1 => format!("{instruction}\n\n{dialogue}\n\nAnswer:"),
        2 => format!("{dialogue}\n\n{instruction}"),
        3 => format!("Dialogue:\n{dialogue}\n\n{instruction}"),
        _ => format!("Read the following conversation.\n\n{dialogue}\n\n{instruction}"),
    };
    Some(Task { prompt, target: target.into() })
}

/// A wording with its slot filled.
fn wording(draw: &mut Draw, wordings: &[&str], value: &str) -> String {
    draw.pick(wordings).replace("{}", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_seed_gives_the_same_tasks() {
        let scenes = Scenes::load().unwrap();
        assert_eq!(draw(&scenes, 1, 300).unwrap(), draw(&scenes, 1, 300).unwrap());
        assert_ne!(draw(&scenes, 1, 300).unwrap(), draw(&scenes, 2, 300).unwrap());
    }

    #[test]
    fn no_task_is_about_summaries_or_holds_one() {
        let scenes = Scenes::load().unwrap();
        let rows = Rows::draw(&scenes, 1).unwrap();
        let summaries: HashSet<&str> = rows.summaries().collect();
        for Task { prompt, target } in draw(&scenes, 1, 5000).unwrap() {
            for text in [&prompt, &target] {
                assert!(!text.to_lowercase().contains("summar"), "{text}");
                assert!(!text.contains("{}"), "{text}");
            }
            assert!(!summaries.contains(target.as_str()), "{target}");
            assert!(!target.is_empty());
        }
    }

    #[test]
    fn no_task_is_over_a_dialogue_of_the_rows() {
        let scenes = Scenes::load().unwrap();
        let rows = Rows::draw(&scenes, 1).unwrap();
        for task in draw(&scenes, 1, 1000).unwrap() {
            assert!(rows.dialogues().all(|dialogue| !task.prompt.contains(dialogue)), "{}", task.prompt);
        }
    }

    #[test]
    fn every_kind_of_task_can_be_drawn() {
        let scenes = Scenes::load().unwrap();
        let mut source = Source::new(&scenes, Draw::new(5, "test"), HashSet::new());
        let mut draw = Draw::new(5, "kinds");
        let dialogues: Vec<Dialogue> = (0..40).map(|_| source.dialogue().unwrap()).collect();
        for (i, (_, kind)) in KINDS.iter().enumerate() {
            let made = dialogues.iter().any(|dialogue| {
                let text = dialogue.text();
                kind(&Material { dialogue, text: &text, words: &scenes.words }, &mut draw).is_some()
            });
            assert!(made, "kind {i}");
        }
    }
}
