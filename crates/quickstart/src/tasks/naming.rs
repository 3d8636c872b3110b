//! Tasks that ask for the speakers and for single values.

use super::copying::copied_line;
use super::{Material, NUMBERS, Task, task, wording};
use crate::dialogue::Fact;
use crate::random::Draw;
use crate::words::{capitalised, mentions};

/// Names the first or the last speaker.
pub fn which_speaker(m: &Material, draw: &mut Draw) -> Option<Task> {
    let lines = &m.dialogue.lines;
    let (line, which) = *draw.pick(&[(&lines[0], "first"), (&lines[lines.len() - 1], "last")]);
    let speaker = &line.speaker;
    match draw.chance(50) {
        true => {
            let asked = wording(
                draw,
                &["Who speaks {}?", "Name the {} speaker.", "Which person is {} to speak?"],
                which,
            );
            task(&asked, m.text, speaker, draw)
        }
        false => {
            let asked =
                wording(draw, &["Write in a sentence who speaks {}.", "Say who is the {} speaker."], which);
            task(&asked, m.text, format!("{speaker} speaks {which}."), draw)
        }
    }
}

/// Names both speakers.
pub fn both_speakers(m: &Material, draw: &mut Draw) -> Option<Task> {
    let [a, b] = [0, 1].map(|i| &m.dialogue.lines[i].speaker);
    let (asked, target) = match draw.below(3) {
        0 => (wording(draw, &["Name both speakers.", "Which two people speak?"], ""), format!("{a} and {b}")),
        1 => ("Write a sentence with both speakers.".into(), format!("{a} and {b} speak.")),
        _ => ("Who speaks first, and to whom?".into(), format!("{a} speaks to {b}.")),
    };
    task(&asked, m.text, target, draw)
}

/// Counts the lines.
pub fn number_of_lines(m: &Material, draw: &mut Draw) -> Option<Task> {
    let count = NUMBERS[m.dialogue.lines.len() - 1];
    match draw.chance(50) {
        true => task("How many lines are there?", m.text, count, draw),
        false => task(
            "Write in a sentence how many lines there are.",
            m.text,
            format!("There are {count} lines."),
            draw,
        ),
    }
}

/// The facts that nobody can mistake: their label fits no other value in the dialogue.
fn clear_facts<'a>(m: &Material<'a>) -> Vec<&'a Fact> {
    let clear = |fact: &&Fact| m.words.named(&fact.label, m.text) == [fact.value.as_str()];
    m.dialogue.facts.iter().filter(clear).collect()
}

/// Names one value.
pub fn named_value(m: &Material, draw: &mut Draw) -> Option<Task> {
    let facts = clear_facts(m);
    let Fact { label, value } = *facts.get(draw.below(facts.len().max(1)))?;
    match draw.chance(60) {
        true => {
            let asked = wording(
                draw,
                &["Which {} is named?", "Name the {}.", "What is the {}?", "Find the {}."],
                label,
            );
            task(&asked, m.text, value, draw)
        }
        false => {
            let asked = wording(draw, &["State the {}.", "Write a sentence with the {}."], label);
            task(&asked, m.text, format!("The {label} is {value}."), draw)
        }
    }
}

/// Names two to four values, in a sentence or without one.
pub fn several_values(m: &Material, draw: &mut Draw) -> Option<Task> {
    let mut facts = clear_facts(m);
    draw.shuffle(&mut facts);
    facts.truncate(draw.between(2, 4));
    if facts.len() < 2 {
        return None;
    }
    let listed = |parts: Vec<String>| match parts.split_last() {
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    };
    let labels = listed(facts.iter().map(|fact| format!("the {}", fact.label)).collect());
    match draw.chance(60) {
        true => {
            let asked = wording(draw, &["State {}.", "Write a sentence with {}."], &labels);
            let parts =
                listed(facts.iter().map(|fact| format!("the {} is {}", fact.label, fact.value)).collect());
            task(&asked, m.text, format!("{}.", capitalised(&parts)), draw)
        }
        false => {
            let asked = wording(draw, &["Name {}.", "Give only {}.", "What are {}?"], &labels);
            task(&asked, m.text, listed(facts.iter().map(|fact| fact.value.clone()).collect()), draw)
        }
    }
}

/// Names a speaker together with a value.
pub fn speaker_and_value(m: &Material, draw: &mut Draw) -> Option<Task> {
    let facts = clear_facts(m);
    let Fact { label, value } = *facts.get(draw.below(facts.len().max(1)))?;
    let naming = m.dialogue.lines.iter().find(|line| mentions(&line.text, value))?;
    let [a, b] = [0, 1].map(|i| &m.dialogue.lines[i].speaker);
    let (asked, target) = match draw.below(4) {
        0 => (format!("Who names the {label}?"), naming.speaker.clone()),
        1 => (
            format!("Write who names which {label}."),
            format!("{} names the {label} {value}.", naming.speaker),
        ),
        2 => (
            format!("State the first speaker and the {label}."),
            format!("{a} is first and the {label} is {value}."),
        ),
        _ => (format!("Name the speakers and the {label}."), format!("{a}, {b} and {value}")),
    };
    task(&asked, m.text, target, draw)
}

/// Repeats the line that names a value.
pub fn line_with_value(m: &Material, draw: &mut Draw) -> Option<Task> {
    let facts = clear_facts(m);
    let Fact { label, value } = *facts.get(draw.below(facts.len().max(1)))?;
    let line = m.dialogue.lines.iter().find(|line| mentions(&line.text, value))?;
    let asked = wording(
        draw,
        &["Copy the first line that names the {}.", "Which line is the first to name the {}?"],
        label,
    );
    copied_line(line, &asked, m, draw)
}

/// Names the speaker of a line.
pub fn who_says(m: &Material, draw: &mut Draw) -> Option<Task> {
    let line = draw.pick(&m.dialogue.lines);
    if m.dialogue.lines.iter().any(|other| other.text == line.text && other.speaker != line.speaker) {
        return None;
    }
    let asked = wording(
        draw,
        &["Who says this? {}", "Which speaker says: {}", "Name the one who says: {}"],
        &line.text,
    );
    task(&asked, m.text, &line.speaker, draw)
}
