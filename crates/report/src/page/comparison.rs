//! Several runs side by side.

use std::collections::BTreeSet;
use std::fmt::Write;

use tallow_metrics::RougeType;

use super::chart::COLOURS;
use super::html::Text;
use super::{curves, section, single};
use crate::Run;
use crate::curve::{bytes, count, duration, short};
use crate::figures::{Curve, Curves, State};
use crate::run::{Evaluation, differences};

pub(super) fn body(runs: &[Run]) -> String {
    let configs: Vec<&toml::Table> = runs.iter().map(|run| &run.config).collect();
    let differences = differences(&configs);
    let keys = match differences.is_empty() {
        true => "<p class=\"intro\">In no key.</p>\n".to_owned(),
        false => {
            let row = |(key, values): &(String, Vec<Option<String>>)| {
                let cells: Vec<String> =
                    values.iter().map(|value| value.clone().unwrap_or_else(|| "–".into())).collect();
                self::row(key, &cells, None)
            };
            table("keys", runs, &differences.iter().map(row).collect::<String>())
        }
    };
    let note = rows_note(runs);
    [
        format!(
            "<header>\n<p class=\"eyebrow\">Comparison</p>\n<h1>{} runs</h1>\n</header>\n<main>\n",
            runs.len()
        ),
        section("Figures", &note, &table("figures", runs, &figures(runs))),
        section("Where the configs differ", "", &keys),
        section("Training", "By step, smoothed where steps differ much.", &curves::charts(runs)),
        "</main>\n".to_owned(),
    ]
    .concat()
}

fn table(class: &str, runs: &[Run], body: &str) -> String {
    let mut head = String::from("<th></th>");
    for (index, run) in runs.iter().enumerate() {
        let colour = index % COLOURS;
        let _ = write!(head, "<th><span class=\"swatch c{colour}\"></span>{}</th>", Text(&run.label));
    }
    format!(
        "<div class=\"wide\"><table class=\"runs {class}\"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )
}

fn row(name: &str, cells: &[String], best: Option<usize>) -> String {
    // A long key is broken between its words.
    let name = Text(name).to_string().replace('.', ".<wbr>").replace('_', "_<wbr>");
    let mut row = format!("<tr><th>{name}</th>");
    for (index, cell) in cells.iter().enumerate() {
        let class = if best == Some(index) { " class=\"best\"" } else { "" };
        let _ = write!(row, "<td{class}>{}</td>", Text(cell));
    }
    row + "</tr>\n"
}

/// Which figure is better.
#[derive(Clone, Copy)]
enum Better {
    Lower,
    Higher,
}

/// A row of figures, the best of them marked if they differ.
fn measured(name: &str, values: &[Option<f64>], better: Better, write: impl Fn(f64) -> String) -> String {
    if values.iter().all(Option::is_none) {
        return String::new();
    }
    let cells: Vec<String> = values.iter().map(|value| value.map_or_else(|| "–".into(), &write)).collect();
    let key = |value: f64| match better {
        Better::Lower => value,
        Better::Higher => -value,
    };
    let known = values.iter().enumerate().filter_map(|(index, value)| Some((index, key((*value)?))));
    let best = known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index);
    // What reads the same is not marked.
    let differs = cells.iter().filter(|cell| *cell != "–").collect::<BTreeSet<_>>().len() > 1;
    row(name, &cells, best.filter(|_| differs))
}

fn figures(runs: &[Run]) -> String {
    let texts = |name: &str, text: &dyn Fn(&Run) -> String| {
        let cells: Vec<String> = runs.iter().map(text).collect();
        if cells.iter().all(|cell| cell.is_empty()) { String::new() } else { row(name, &cells, None) }
    };
    let mut found = texts("state", &|run| match State::of(run) {
        State::Stopped => "stopped".to_owned(),
        State::Trained => "trained".to_owned(),
        State::Measured => "measured".to_owned(),
    });
    found += &texts("method", &|run| run.facts.method.clone());
    found += &texts("trained parameters", &|run| match run.facts.parameters {
        0 => String::new(),
        all => {
            let share = 100.0 * run.facts.trainable as f64 / all as f64;
            format!("{} ({})", count(run.facts.trainable as u64), single::percent(share))
        }
    });
    found += &texts("steps", &|run| count(run.log.last().step as u64));
    found += &texts("tokens", &|run| count(run.log.tokens() as u64));
    let values = |value: &dyn Fn(&Run) -> Option<f64>| runs.iter().map(value).collect::<Vec<_>>();
    let loss = values(&|run| Curves::of(run).smoothed_or(Curve::Loss).last().map(|point| point.1));
    found += &measured("training loss at the end", &loss, Better::Lower, short);
    let validation = values(&|run| run.log.best().map(|best| best.loss));
    found += &measured("lowest validation loss", &validation, Better::Lower, short);
    let kinds: BTreeSet<RougeType> =
        runs.iter().filter_map(after).flat_map(|evaluation| evaluation.rouge.keys().copied()).collect();
    for kind in kinds {
        let scores = values(&|run| after(run)?.rouge.get(&kind).map(|score| 100.0 * score.fmeasure));
        let write = |value: f64| format!("{value:.2}");
        found += &match protocols(runs).len() {
            1 => measured(&kind.to_string(), &scores, Better::Higher, write),
            _ => {
                let cells: Vec<String> =
                    scores.iter().map(|score| score.map_or_else(|| "–".into(), write)).collect();
                row(&kind.to_string(), &cells, None)
            }
        };
    }
    let rate = values(&|run| Some(run.log.tokens() as f64 / run.log.seconds().max(1e-6)));
    found += &measured("tokens a second", &rate, Better::Higher, short);
    let seconds = values(&|run| Some(run.log.seconds()));
    found += &measured("time in steps", &seconds, Better::Lower, duration);
    let memory = values(&|run| run.log.peak_memory().map(|most| most as f64));
    found += &measured("memory at most", &memory, Better::Lower, |most| bytes(most as u64));
    found += &texts("machine", &|run| {
        run.facts.parts.last().map_or_else(String::new, |part| part.machine.clone())
    });
    found
}

fn after(run: &Run) -> Option<&Evaluation> {
    run.evaluations.after.as_ref()
}

/// The ways in which the runs were measured: rows, stemmer, references.
fn protocols(runs: &[Run]) -> BTreeSet<(usize, bool, String)> {
    let found = runs.iter().filter_map(after);
    found.map(|one| (one.rows, one.stemmer, one.references.to_string())).collect()
}

/// What to know of the scores that stand side by side.
fn rows_note(runs: &[Run]) -> String {
    match (protocols(runs).len(), runs.iter().find_map(after)) {
        (0, _) | (_, None) => String::new(),
        (1, Some(one)) => {
            let protocol = super::scores::protocol(one);
            format!("ROUGE after training, on {} rows: {protocol} The best figure of a row is in bold.", one.rows)
        }
        _ => "ROUGE after training, F1 × 100. The runs were not measured alike (rows, stemmer or references differ): \
              these figures do not compare. Of the others, the best of a row is in bold."
            .to_owned(),
    }
}
