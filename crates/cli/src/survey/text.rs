use std::cmp::Reverse;

use super::Survey;
use super::lengths::Lengths;
use super::lost::Lost;
use super::repeated::Repeated;

/// Of what is lost, so many are listed.
const LISTED: usize = 10;

/// Some rows, and their share of all.
pub fn share(rows: usize, of: usize) -> String {
    let share = 100.0 * rows as f64 / of.max(1) as f64;
    format!("{rows} row{} ({share:.1}%)", if rows == 1 { "" } else { "s" })
}

pub fn of(part: &Survey) -> String {
    let share = |rows: usize| share(rows, part.rows);
    let mut lines = vec![format!("{}: {} rows", part.name, part.rows)];
    let templates = part.templates.iter().map(|(name, rows)| format!("{name} {}", share(*rows)));
    lines.push(format!("  templates: {}", templates.collect::<Vec<_>>().join(", ")));
    for (name, key, lengths) in
        [("prompts", "max_source_tokens", &part.prompts), ("targets", "max_target_tokens", &part.targets)]
    {
        let Lengths { mean, median, longest, limit, rows_cut, tokens_cut, histogram, .. } = lengths;
        lines.push(format!("  {name}: mean {mean:.0} tokens, median {median:.0}, longest {longest}"));
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
        let rows = share(part.targets_changed.rows);
        let lost = lost(&part.targets_changed);
        lines.push(format!("  targets that the vocabulary changes: {rows}, the first {first}; lost: {lost}"));
    }
    if let Some((row, earlier)) = &part.repeated.first {
        let rows = share(part.repeated.rows);
        lines.push(format!("  repeated: {rows}, the first {row}, as {earlier}"));
    }
    if let Some(Repeated { rows, first: Some((row, earlier)) }) = &part.in_training {
        let rows = share(*rows);
        lines.push(format!("  prompts that are in training too: {rows}, the first {row}, as {earlier}"));
    }
    lines.join("\n")
}

/// What is lost, the most frequent first.
pub fn lost(lost: &Lost) -> String {
    let mut all: Vec<_> = lost.lost.iter().collect();
    all.sort_by_key(|(_, rows)| Reverse(**rows));
    let listed = all.iter().take(LISTED).map(|(what, rows)| format!("{what} in {rows}"));
    let listed = listed.collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed}, {more} others"),
    }
}
