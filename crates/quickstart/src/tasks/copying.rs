//! Tasks whose target is copied from the prompt.

use super::{Material, NUMBERS, ORDINALS, Task, task, wording};
use crate::dialogue::Line;
use crate::random::Draw;

/// Repeats the k-th line.
pub fn numbered_line(m: &Material, draw: &mut Draw) -> Option<Task> {
    let lines = &m.dialogue.lines;
    let at = draw.below(lines.len());
    let place = match at + 1 == lines.len() && draw.chance(60) {
        true => "last",
        false => ORDINALS[at],
    };
    copied_line(
        &lines[at],
        &wording(
            draw,
            &["Repeat the {} line.", "Copy the {} line.", "What is the {} line?", "Write the {} line again."],
            place,
        ),
        m,
        draw,
    )
}

/// Repeats what a speaker says first or last.
pub fn said_by(m: &Material, draw: &mut Draw) -> Option<Task> {
    let speaker = &draw.pick(&m.dialogue.lines[..2]).speaker;
    let mut own = m.dialogue.lines.iter().filter(|line| line.speaker == *speaker);
    let (line, which) = if draw.chance(50) { (own.next()?, "first") } else { (own.next_back()?, "last") };
    let asked = match draw.below(3) {
        0 => format!("What does {speaker} say {which}?"),
        1 => format!("Repeat the {which} words of {speaker}."),
        _ => format!("Copy what {speaker} says {which}."),
    };
    task(&asked, m.text, &line.text, draw)
}

/// Repeats the line behind a given one.
pub fn next_line(m: &Material, draw: &mut Draw) -> Option<Task> {
    let at = draw.below(m.dialogue.lines.len() - 1);
    let said = &m.dialogue.lines[at].text;
    if m.dialogue.lines.iter().filter(|line| line.text == *said).count() > 1 {
        return None;
    }
    let asked = wording(
        draw,
        &["Which line comes after: {}", "What is the answer to: {}", "Copy the line behind this one: {}"],
        said,
    );
    copied_line(&m.dialogue.lines[at + 1], &asked, m, draw)
}

/// Half of the time the line is wanted with its speaker.
pub fn copied_line(line: &Line, asked: &str, m: &Material, draw: &mut Draw) -> Option<Task> {
    match draw.chance(50) {
        true => task(&format!("{asked} Give the speaker too."), m.text, line.labelled(), draw),
        false => task(asked, m.text, &line.text, draw),
    }
}

/// Repeats the line that a word stands in.
pub fn line_with_word(m: &Material, draw: &mut Draw) -> Option<Task> {
    let line = draw.pick(&m.dialogue.lines);
    let word = *draw.pick(&bare_words(&line.text));
    let holding = m.dialogue.lines.iter().filter(|line| bare_words(&line.text).contains(&word)).count();
    if holding != 1 || word.len() < 3 {
        return None;
    }
    let asked = wording(
        draw,
        &[
            "Copy the line that has the word {} in it.",
            "Which line has the word {}?",
            "Repeat the line with {}.",
        ],
        word,
    );
    copied_line(line, &asked, m, draw)
}

/// Goes on behind two words.
pub fn words_after(m: &Material, draw: &mut Draw) -> Option<Task> {
    let words: Vec<&str> = draw.pick(&m.dialogue.lines).text.split(' ').collect();
    let length = draw.between(2, 5);
    if words.len() < 2 + length {
        return None;
    }
    let at = draw.below(words.len() - length - 1);
    let cue = words[at..at + 2].join(" ");
    if m.text.matches(&cue).count() != 1 {
        return None;
    }
    let count = NUMBERS[length - 1];
    let asked = match draw.below(3) {
        0 => format!("Copy the {count} words after: {cue}"),
        1 => format!("Which {count} words come after {cue} here?"),
        _ => format!("Go on with {count} words: {cue}"),
    };
    task(&asked, m.text, without_end(&words[at + 2..at + 2 + length].join(" ")), draw)
}

/// Fills a hole, as T5 is pre-trained to.
pub fn missing_words(m: &Material, draw: &mut Draw) -> Option<Task> {
    let value = draw.chance(60).then(|| draw.pick(&m.dialogue.facts).value.clone());
    let span = match value {
        Some(value) => value,
        None => {
            let words: Vec<&str> = draw.pick(&m.dialogue.lines).text.split(' ').collect();
            let length = draw.between(1, 4).min(words.len());
            let at = draw.below(words.len() - length + 1);
            without_end(&words[at..at + length].join(" ")).to_owned()
        }
    };
    // A value that is named again can be copied from there; a span that is named once must be made up.
    let at = m.text.find(&format!(" {span}"))? + 1;
    let (before, after) = (&m.text[..at], &m.text[at + span.len()..]);
    if after.starts_with(char::is_alphanumeric) {
        return None;
    }
    let holed = format!("{before}<extra_id_0>{after}");
    let asked =
        draw.pick(&["Fill in the missing words.", "Which words are missing?", "Write what is missing."]);
    // To be learnt by copying, the missing span is among the choices in two thirds of the rows.
    if draw.chance(66) {
        let mut choices = vec![span.clone()];
        choices.extend(m.dialogue.facts.iter().map(|fact| fact.value.clone()).filter(|value| *value != span));
        choices.truncate(3);
        draw.shuffle(&mut choices);
        let asked = format!("{asked} Choose from: {}.", choices.join(", "));
        return task(&asked, &holed, format!("<extra_id_0> {span} <extra_id_1>"), draw);
    }
    task(asked, &holed, format!("<extra_id_0> {span} <extra_id_1>"), draw)
}

/// Puts the words of a line in order.
pub fn ordered_words(m: &Material, draw: &mut Draw) -> Option<Task> {
    let line = draw.pick(&m.dialogue.lines);
    let mut words: Vec<&str> = line.text.split(' ').collect();
    if !(3..=10).contains(&words.len()) {
        return None;
    }
    draw.shuffle(&mut words);
    let words = words.join(" ");
    let asked = wording(
        draw,
        &["Put the words in order: {}", "Write these words as the line they are from: {}"],
        &words,
    );
    // With the dialogue it is found and copied, without it put together.
    match draw.chance(70) {
        true => task(&asked, m.text, &line.text, draw),
        false => Some(Task { prompt: asked, target: line.text.clone() }),
    }
}

/// Repeats words in no order at all, which only copying can do.
pub fn repeated_words(m: &Material, draw: &mut Draw) -> Option<Task> {
    let mut words: Vec<&str> = m.dialogue.lines.iter().flat_map(|line| bare_words(&line.text)).collect();
    words.extend(m.dialogue.lines[..2].iter().map(|line| line.speaker.as_str()));
    draw.shuffle(&mut words);
    words.truncate(draw.between(3, 12));
    let words = words.join(" ");
    let prompt = wording(
        draw,
        &["Repeat: {}", "Copy these words: {}", "Write this again: {}", "{}\n\nRepeat the words."],
        &words,
    );
    Some(Task { prompt, target: words })
}

/// The words without the signs around them.
fn bare_words(text: &str) -> Vec<&str> {
    text.split(' ').map(|word| word.trim_matches(['.', ',', '?', '!', ':'])).collect()
}

fn without_end(text: &str) -> &str {
    text.trim_end_matches(['.', ',', '?', '!', ':'])
}
