use std::fmt::Write;

use super::html::Text;
use crate::run::{Evaluation, Evaluations};

/// What scores mean, in a sentence.
pub(super) fn protocol(evaluation: &Evaluation) -> String {
    let stemmer = if evaluation.stemmer { "with" } else { "without" };
    format!("F1 × 100, {stemmer} stemmer; of several references, the {}.", evaluation.references)
}

/// ROUGE before and after as a table; nothing if nothing was measured.
pub(super) fn table(found: &Evaluations) -> String {
    let (before, after) = (found.before.as_ref(), found.after_comparable());
    // All rows stand beside those that were measured twice.
    let all = found.after.as_ref().filter(|_| found.after_same_rows.is_some());
    let Some(first) = before.or(after) else { return String::new() };
    let both = before.is_some() && after.is_some();
    let mut table = String::from("<div class=\"wide\"><table class=\"scores\">\n<thead><tr><th></th>");
    let mut head = |name: &str, evaluation: &Evaluation| {
        let rows = evaluation.rows;
        let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        let _ = write!(table, "<th>{name}<small>{rows}</small></th>");
    };
    before.into_iter().for_each(|evaluation| head("before", evaluation));
    after.into_iter().for_each(|evaluation| head("after", evaluation));
    if both {
        table.push_str("<th>difference</th>");
    }
    if let Some(all) = all {
        let _ = write!(table, "<th>after<small>all {} rows</small></th>", all.rows);
    }
    let key = match both {
        true => "<i class=\"was\"></i>before <i class=\"is\"></i>after, of 100",
        false => "of 100",
    };
    let _ = write!(table, "<th class=\"bars\"><small>{key}</small></th></tr></thead>\n<tbody>\n");
    for kind in first.rouge.keys() {
        let value = |evaluation: Option<&Evaluation>| {
            evaluation.and_then(|found| found.rouge.get(kind)).map(|score| 100.0 * score.fmeasure)
        };
        let _ = write!(table, "<tr><th>{}</th>", Text(kind));
        let mut cell = |class: &str, text: String| {
            let _ = write!(table, "<td class=\"{class}\">{text}</td>");
        };
        let (was, is) = (value(before), value(after));
        let cells = [(before.is_some(), was), (after.is_some(), is)];
        for (_, value) in cells.into_iter().filter(|cell| cell.0) {
            cell("", decimal(value));
        }
        if both {
            cell("difference", was.zip(is).map_or_else(String::new, |(was, is)| signed(is - was)));
        }
        if all.is_some() {
            cell("", decimal(value(all)));
        }
        cell("bars", bars(was, is));
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table></div>\n");
    table
}

fn decimal(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.2}"))
}

pub(super) fn signed(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    match text.as_str() {
        "0.00" => text,
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

fn bars(was: Option<f64>, is: Option<f64>) -> String {
    let bar = |class: &str, value: Option<f64>| {
        value.map_or_else(String::new, |value| {
            format!("<i class=\"{class}\" style=\"width:{value:.1}%\"></i>")
        })
    };
    format!("<span class=\"track\">{}{}</span>", bar("was", was), bar("is", is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_sign() {
        assert_eq!([57.136, -0.5, 0.001, -0.001].map(signed), ["+57.14", "−0.50", "0.00", "0.00"]);
    }
}
