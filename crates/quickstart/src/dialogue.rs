//! Dialogues drawn from the scenes.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, ensure};

use crate::random::Draw;
use crate::scenes::{Scene, Scenes, Speaker, Turn};
use crate::words::capitalised;

/// The most turns of a dialogue, small talk included.
const MAX_TURNS: usize = 9;

/// What somebody says.
#[derive(Clone, Debug)]
pub struct Line {
    /// The name, or `#Person1#`, `#Person2#`.
    pub speaker: String,
    /// The words.
    pub text: String,
}

impl Line {
    /// The line as it stands in the dialogue, `Mia: Good morning.`
    pub fn labelled(&self) -> String {
        format!("{}: {}", self.speaker, self.text)
    }
}

/// A value that the dialogue names, with what it is.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What the value is, as a question would call it: "day".
    pub label: String,
    /// The value: "Friday".
    pub value: String,
}

/// A dialogue of two people, with what is known about it.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// The lines in order.
    pub lines: Vec<Line>,
    /// The values of the slots that can be asked about.
    pub facts: Vec<Fact>,
    /// One sentence each, all of them saying the same.
    pub summaries: Vec<String>,
}

impl Dialogue {
    /// Draws a dialogue of a scene.
    pub fn draw(scenes: &Scenes, scene: &Scene, draw: &mut Draw) -> Result<Self> {
        let mut used = HashSet::new();
        let mut fresh = |list: &str, draw: &mut Draw| -> Result<String> {
            let values = &scenes.words.list(list)?.values;
            // No value twice in a dialogue: "from Friday to Friday" would be no fact.
            let free: Vec<_> = values.iter().filter(|value| !used.contains(*value)).collect();
            ensure!(!free.is_empty(), "the list {list:?} is too short for the scene {:?}", scene.name);
            let value = (*draw.pick(&free)).clone();
            used.insert(value.clone());
            Ok(value)
        };
        let named = draw.chance(60);
        let speakers = match named {
            true => [fresh("name", draw)?, fresh("name", draw)?],
            false => ["#Person1#".to_owned(), "#Person2#".to_owned()],
        };
        let mut values = BTreeMap::new();
        let mut facts = Vec::new();
        for (slot, list) in &scene.slots {
            let value = fresh(list, draw)?;
            if let Some(label) = scenes.words.list(list)?.label.clone() {
                facts.push(Fact { label, value: value.clone() });
            }
            values.insert(slot.as_str(), value);
        }

        let name = |speaker: Speaker| speakers[speaker as usize].clone();
        let lines = turns(scenes, scene, draw)
            .into_iter()
            .map(|turn| {
                let fits = |text: &&String| named || !text.contains("{other}");
                let phrasings: Vec<&String> = turn.phrasings.iter().filter(fits).collect();
                let mut values = values.clone();
                values.insert("other", name(turn.speaker.other()));
                Line { speaker: name(turn.speaker), text: filled(draw.pick::<&String>(&phrasings), &values) }
            })
            .collect();
        values.insert("a", name(Speaker::A));
        values.insert("b", name(Speaker::B));
        let summaries = scene.summaries.iter().map(|summary| filled(summary, &values)).collect();
        Ok(Self { lines, facts, summaries })
    }

    /// The dialogue as text, a line for each turn.
    pub fn text(&self) -> String {
        self.lines.iter().map(Line::labelled).collect::<Vec<_>>().join("\n")
    }
}

/// Chooses the turns: the scene's own, and perhaps small talk before and behind them.
fn turns<'a>(scenes: &'a Scenes, scene: &'a Scene, draw: &mut Draw) -> Vec<&'a Turn> {
    let with_optional = draw.chance(50);
    let core: Vec<&Turn> = scene.turns.iter().filter(|turn| with_optional || !turn.optional).collect();
    let small_talk = scenes.small_talk(scene.tone);
    let ending = match core[core.len() - 1].speaker {
        Speaker::A => &small_talk.after_a,
        Speaker::B => &small_talk.after_b,
    };
    let opening = if draw.chance(40) { small_talk.open.len() } else { 0 };
    let ending = &ending[..draw.below(ending.len() + 1)];
    let mut turns: Vec<&Turn> = small_talk.open[..opening].iter().chain(core).chain(ending).collect();
    if turns.len() > MAX_TURNS {
        turns.drain(..opening);
    }
    turns.truncate(MAX_TURNS);
    turns
}

/// Puts the values into the slots of a phrasing.
fn filled(phrasing: &str, values: &BTreeMap<&str, String>) -> String {
    let mut text = phrasing.to_owned();
    for (slot, value) in values {
        text = text.replace(&format!("{{{slot}}}"), value);
    }
    capitalised(&text)
}

/// Draws dialogues that it has not drawn before, scene by scene in turn.
pub struct Source<'a> {
    scenes: &'a Scenes,
    draw: Draw,
    seen: HashSet<String>,
    next: usize,
}

impl<'a> Source<'a> {
    /// A source that never gives one of the dialogues in `seen`.
    pub fn new(scenes: &'a Scenes, draw: Draw, seen: HashSet<String>) -> Self {
        Self { scenes, draw, seen, next: 0 }
    }

    /// The next dialogue, which no earlier call gave.
    pub fn dialogue(&mut self) -> Result<Dialogue> {
        let scene = &self.scenes.scenes[self.next % self.scenes.scenes.len()];
        self.next += 1;
        for _ in 0..1000 {
            let dialogue = Dialogue::draw(self.scenes, scene, &mut self.draw)?;
            if self.seen.insert(dialogue.text()) {
                return Ok(dialogue);
            }
        }
        anyhow::bail!("the scene {:?} has no new dialogue left", scene.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes::slots_of;
    use crate::words::mentions;

    #[test]
    fn dialogues_have_four_to_nine_turns_and_summaries_name_what_they_say() {
        let scenes = Scenes::load().unwrap();
        let mut draw = Draw::new(3, "test");
        for scene in &scenes.scenes {
            for _ in 0..40 {
                let dialogue = Dialogue::draw(&scenes, scene, &mut draw).unwrap();
                let text = dialogue.text();
                assert!((4..=MAX_TURNS).contains(&dialogue.lines.len()), "{text}");
                assert!(dialogue.lines.windows(2).all(|pair| pair[0].speaker != pair[1].speaker), "{text}");
                assert!(!text.contains(['{', '}']), "{text}");
                for summary in &dialogue.summaries {
                    let count = summary.split_whitespace().count();
                    assert!((8..=20).contains(&count), "{count} words: {summary}");
                    assert!(!summary.contains(['{', '}']), "{summary}");
                }
            }
        }
    }

    #[test]
    fn the_values_of_a_summary_stand_in_the_summary_and_in_the_dialogue() {
        let scenes = Scenes::load().unwrap();
        let mut draw = Draw::new(4, "test");
        for scene in &scenes.scenes {
            let dialogue = Dialogue::draw(&scenes, scene, &mut draw).unwrap();
            let text = dialogue.text();
            for (template, summary) in scene.summaries.iter().zip(&dialogue.summaries) {
                let asked =
                    scene.slots.iter().filter(|(_, list)| scenes.words.list(list).unwrap().label.is_some());
                for ((slot, _), fact) in asked.zip(&dialogue.facts) {
                    if slots_of(template).contains(&slot.as_str()) {
                        assert!(mentions(summary, &fact.value), "{:?} not in {summary}", fact.value);
                        assert!(mentions(&text, &fact.value), "{:?} not in {text}", fact.value);
                    }
                }
            }
        }
    }
}
