//! One run.

use std::fmt::Write;

use super::html::Text;
use super::{curves, layers, prompt, sample, scores, section};
use crate::Run;
use crate::curve::{bytes, count, duration, short};
use crate::figures::State;
use crate::samples::samples;

pub(super) fn body(run: &Run) -> String {
    let found = &run.evaluations;
    let protocol = found.after.as_ref().or(found.before.as_ref()).map_or_else(String::new, scores::protocol);
    let (samples, from) = samples(run);
    let intro = match samples.len() {
        shown if shown < from => {
            format!("{shown} of {from} rows, from the highest ROUGE-1 to the lowest at even distances.")
        }
        _ => "Every row, from the highest ROUGE-1 to the lowest.".to_owned(),
    };
    let mut list = sample::list(&samples);
    if !list.is_empty() {
        list = format!(
            "<p class=\"key\"><mark>Marked</mark> words count for ROUGE-1 against the nearest reference (▸ of the text after \
             training): the same word, or its stem where the stemmer is on, at most as often as the reference has it. The \
             figure is ROUGE-1’s F1 × 100.</p>\n{list}"
        );
    }
    let adapter = "The Frobenius norm of what the adapter adds to each weight, scale × B × A.";
    let config = format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", Text(run.config_text.trim_end()));
    [
        header(run),
        "<main>\n".to_owned(),
        section("ROUGE", &protocol, &scores::table(found)),
        section(
            "Training",
            "By step. Pointing at a chart shows its values there.",
            &curves::charts(std::slice::from_ref(run)),
        ),
        section("Outputs", &intro, &list),
        section("Adapter", adapter, &layers::maps(&run.adapter)),
        section("Prompt", prompt::INTRO, &prompt::table(&run.prompt)),
        section("Config", "", &config),
        "</main>\n".to_owned(),
    ]
    .concat()
}

fn header(run: &Run) -> String {
    let (log, facts, last) = (&run.log, &run.facts, run.log.last());
    let state = match State::of(run) {
        State::Stopped => format!("Stopped after step {}", count(last.step as u64)),
        State::Trained => "Trained, not measured yet".to_owned(),
        State::Measured => "Trained and measured".to_owned(),
    };
    let mut list = String::new();
    let mut fact = |name: &str, value: String, note: String| {
        let note = if note.is_empty() { note } else { format!("<small>{}</small>", Text(note)) };
        let _ = writeln!(list, "<div><dt>{name}</dt><dd>{}{note}</dd></div>", Text(value));
    };
    if !facts.method.is_empty() {
        let base = run.config.get("model").and_then(|model| model.get("path")).and_then(toml::Value::as_str);
        fact("Method", facts.method.clone(), base.map_or_else(String::new, |base| format!("on {base}")));
    }
    if facts.parameters > 0 {
        let share = 100.0 * facts.trainable as f64 / facts.parameters as f64;
        let note = format!("{} of {}", percent(share), count(facts.parameters as u64));
        fact("Trained parameters", count(facts.trainable as u64), note);
    }
    let epochs = last.epoch + 1;
    let passes = if epochs == 1 { "1 epoch".to_owned() } else { format!("{epochs} epochs") };
    fact("Steps", count(last.step as u64), format!("{passes}, {} tokens", count(log.tokens() as u64)));
    if let Some(best) = log.best() {
        let note = format!("at step {}, the lowest of {}", count(best.step as u64), log.validations.len());
        fact("Validation loss", short(best.loss), note);
    }
    let whole: Option<f64> = facts.parts.iter().map(|part| part.seconds).sum();
    let (time, note) = match whole.filter(|_| !facts.parts.is_empty()) {
        Some(whole) => (whole, format!("{} of them in steps", duration(log.seconds()))),
        None => (log.seconds(), "in steps".to_owned()),
    };
    fact("Time", duration(time), note);
    let rate = log.tokens() as f64 / log.seconds().max(1e-6);
    let memory =
        log.peak_memory().map_or_else(String::new, |most| format!("at most {} of memory", bytes(most)));
    fact("Speed", format!("{} tokens/s", short(rate)), memory);
    let mut machines: Vec<&str> = facts.parts.iter().map(|part| part.machine.as_str()).collect();
    machines.dedup();
    if let Some(part) = facts.parts.last() {
        let parts = match facts.parts.len() {
            1 => format!("begun {}", date(&facts.parts[0].started)),
            parts => format!("begun {}, resumed {}", date(&facts.parts[0].started), times(parts - 1)),
        };
        let machine = if machines.len() > 1 { machines.join("; then ") } else { part.machine.clone() };
        fact("Machine", machine, parts);
    }
    format!(
        "<header>\n<p class=\"eyebrow\">{state}</p>\n<h1>{}</h1>\n<dl class=\"facts\">\n{list}</dl>\n</header>\n",
        Text(&run.name)
    )
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// `2026-11-22T02:25:11Z` as `2026-11-22 02:25 UTC`.
fn date(started: &str) -> String {
    match started.split_once('T') {
        Some((day, time)) => format!("{day} {} UTC", time.get(..5).unwrap_or(time)),
        None => started.to_owned(),
    }
}

/// A share to two digits.
pub(super) fn percent(share: f64) -> String {
    if share >= 10.0 { format!("{share:.0}%") } else { format!("{share:.2}%") }
}
