use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use serde::Serialize;
use tallow_data::{Example, Origin, Tokenizer};

use crate::args::StatsArguments;
use crate::config::{TaskOptions, load};
use crate::data::{TRAINING, examples, tokenizer};
use crate::progress;

/// Of the rows of one part.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    rows: usize,
    /// Template to rows.
    templates: BTreeMap<String, usize>,
    prompts: Lengths,
    targets: Lengths,
    /// Uncut targets that do not come back from their tokens as they were.
    targets_changed: Changed,
    /// Rows with the prompt and the target of an earlier row of the part.
    repeated: Repeated,
    /// Rows with the prompt and the target of a training row.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_training: Option<Repeated>,
}

/// In tokens, before they are cut.
#[derive(Serialize)]
struct Lengths {
    mean: f64,
    median: usize,
    longest: usize,
    /// Rows of so many tokens, from the first number to the second.
    histogram: Vec<(usize, usize, usize)>,
    limit: usize,
    rows_cut: usize,
    tokens_cut: usize,
}

#[derive(Default, Serialize)]
struct Changed {
    rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    /// What is lost, to rows.
    lost: BTreeMap<String, usize>,
}

#[derive(Default, Serialize)]
struct Repeated {
    rows: usize,
    /// The first of them, and the row that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<(String, String)>,
}

pub fn run(arguments: &StatsArguments) -> Result<()> {
    let config = load(&arguments.config.config, &arguments.config.overrides)?;
    let tokenizer = tokenizer(&config.model)?;
    let mut training = Known::new();
    let mut parts = Vec::new();
    for (name, found) in examples(&config)? {
        let found = found?;
        let in_training = (name != TRAINING).then(|| repeated_in(&found, &training));
        let (known, repeated) = repeated(&found);
        if name == TRAINING {
            training = known;
        }
        let (mut prompts, mut targets) = (Vec::new(), Vec::new());
        let (mut templates, mut changed) = (BTreeMap::new(), Changed::default());
        let texts = |side: fn(&Example) -> &str| found.iter().map(side).collect::<Vec<_>>();
        let sources = tokenizer.encode_batch(&texts(|example| &example.prompt), usize::MAX)?;
        let outputs = tokenizer.encode_batch(&texts(|example| &example.target), usize::MAX)?;
        for ((example, source), output) in found.iter().zip(sources).zip(outputs) {
            prompts.push(source.ids.len());
            targets.push(output.ids.len());
            *templates.entry(example.template.clone()).or_default() += 1;
            changed.count(example, &tokenizer, &output.ids)?;
        }
        let TaskOptions { max_source_tokens, max_target_tokens, .. } = *config.task();
        parts.push(Part {
            name,
            rows: found.len(),
            templates,
            prompts: lengths(prompts, max_source_tokens),
            targets: lengths(targets, max_target_tokens),
            targets_changed: changed,
            repeated,
            in_training,
        });
    }
    match arguments.json {
        true => progress::print(&serde_json::to_string(&parts)?),
        false => progress::print(&parts.iter().map(text).collect::<Vec<_>>().join("\n\n")),
    }
}

/// Prompt and target, to where they stand first.
type Known = HashMap<(String, String), Origin>;

fn key(row: &Example) -> (String, String) {
    (row.prompt.clone(), row.target.clone())
}

impl Repeated {
    fn count(&mut self, row: &Example, earlier: &Origin) {
        self.rows += 1;
        self.first.get_or_insert_with(|| (row.origin.to_string(), earlier.to_string()));
    }
}

/// All rows, and those that repeat an earlier one.
fn repeated(rows: &[Example]) -> (Known, Repeated) {
    let (mut known, mut repeated) = (Known::new(), Repeated::default());
    for row in rows {
        match known.entry(key(row)) {
            Entry::Occupied(earlier) => repeated.count(row, earlier.get()),
            Entry::Vacant(place) => drop(place.insert(row.origin.clone())),
        }
    }
    (known, repeated)
}

/// The rows that are known.
fn repeated_in(rows: &[Example], known: &Known) -> Repeated {
    let mut repeated = Repeated::default();
    for row in rows {
        if let Some(earlier) = known.get(&key(row)) {
            repeated.count(row, earlier);
        }
    }
    repeated
}

impl Changed {
    fn count(&mut self, example: &Example, tokenizer: &Tokenizer, ids: &[u32]) -> Result<()> {
        let found = tokenizer.decode(ids)?;
        if found == example.target {
            return Ok(());
        }
        self.rows += 1;
        self.first.get_or_insert_with(|| example.origin.to_string());
        let mut lost: Vec<String> = Vec::new();
        for character in example.target.chars().filter(|character| !found.contains(*character)) {
            let name = match character {
                '\n' | '\r' => "line breaks".to_owned(),
                other if other.is_whitespace() => "blanks other than the space".to_owned(),
                other if other.is_control() => other.escape_debug().to_string(),
                other => other.to_string(),
            };
            if !lost.contains(&name) {
                lost.push(name);
            }
        }
        if lost.is_empty() {
            lost.push("runs of blanks, or characters that are written otherwise".to_owned());
        }
        lost.into_iter().for_each(|name| *self.lost.entry(name).or_default() += 1);
        Ok(())
    }
}

/// The most bars of a histogram.
const BARS: usize = 10;

/// The least of 1, 2, 5, 10, 20, 50, ... with which no more bars are needed.
fn bar_width(longest: usize) -> usize {
    let mut widths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.pow(power)));
    widths.find(|width| longest.div_ceil(*width) <= BARS).expect("the widths grow")
}

fn lengths(mut tokens: Vec<usize>, limit: usize) -> Lengths {
    tokens.sort_unstable();
    let longest = tokens.last().copied().unwrap_or_default();
    let width = bar_width(longest);
    let bars = (0..longest.div_ceil(width)).map(|bar| (bar * width + 1, (bar + 1) * width));
    let within = |(first, last)| tokens.iter().filter(|n| (first..=last).contains(*n)).count();
    let cut = tokens.iter().filter(|&&n| n > limit);
    Lengths {
        mean: tokens.iter().sum::<usize>() as f64 / tokens.len().max(1) as f64,
        median: tokens.get(tokens.len() / 2).copied().unwrap_or_default(),
        longest,
        histogram: bars.map(|(first, last)| (first, last, within((first, last)))).collect(),
        limit,
        rows_cut: cut.clone().count(),
        tokens_cut: cut.map(|n| n - limit).sum(),
    }
}

/// Of what is lost, so many are listed.
const LISTED: usize = 10;

fn text(part: &Part) -> String {
    let share = |rows: usize| {
        let share = 100.0 * rows as f64 / part.rows.max(1) as f64;
        format!("{rows} row{} ({share:.1}%)", if rows == 1 { "" } else { "s" })
    };
    let mut lines = vec![format!("{}: {} rows", part.name, part.rows)];
    let templates = part.templates.iter().map(|(name, rows)| format!("{name} {}", share(*rows)));
    lines.push(format!("  templates: {}", templates.collect::<Vec<_>>().join(", ")));
    for (name, key, lengths) in
        [("prompts", "max_source_tokens", &part.prompts), ("targets", "max_target_tokens", &part.targets)]
    {
        let Lengths { mean, median, longest, limit, rows_cut, tokens_cut, histogram } = lengths;
        lines.push(format!("  {name}: mean {mean:.0} tokens, median {median}, longest {longest}"));
        let most = histogram.iter().map(|bar| bar.2).max().unwrap_or_default().max(1);
        lines.extend(histogram.iter().map(|(first, last, rows)| {
            let bar = "#".repeat((40 * rows).div_ceil(most));
            format!("    {:>11}  {bar} {rows}", format!("{first}-{last}"))
        }));
        if *rows_cut > 0 {
            let rows = share(*rows_cut);
            lines.push(format!("    cut to {key} = {limit}: {rows}, by {tokens_cut} tokens in all"));
        }
    }
    if let Some(first) = &part.targets_changed.first {
        let Changed { rows, lost, .. } = &part.targets_changed;
        let mut lost: Vec<_> = lost.iter().collect();
        lost.sort_by_key(|(_, rows)| Reverse(**rows));
        let more = lost.len().saturating_sub(LISTED);
        let lost = lost.iter().take(LISTED).map(|(what, rows)| format!("{what} in {rows}"));
        let mut lost = lost.collect::<Vec<_>>().join(", ");
        if more > 0 {
            lost += &format!(", {more} others");
        }
        let rows = share(*rows);
        lines.push(format!("  targets that the vocabulary changes: {rows}, the first {first}; lost: {lost}"));
    }
    if let Some((row, earlier)) = &part.repeated.first {
        let rows = share(part.repeated.rows);
        lines.push(format!("  repeated: {rows}, the first {row}, as {earlier}"));
    }
    if let Some(Repeated { rows, first: Some((row, earlier)) }) = &part.in_training {
        let rows = share(*rows);
        lines.push(format!("  also in training: {rows}, the first {row}, as {earlier}"));
    }
    lines.join("\n")
}
