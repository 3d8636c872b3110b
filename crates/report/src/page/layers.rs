//! What an adapter adds, as one map of blocks and layers for each stack.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::html::Text;
use crate::curve::short;
use crate::run::LayerNorm;

/// A layer's place: `encoder`, block 3, `SelfAttention`, `q`.
#[derive(Debug, PartialEq)]
struct Place<'a> {
    stack: &'a str,
    block: usize,
    part: &'a str,
    layer: &'a str,
}

fn place(name: &str) -> Option<Place<'_>> {
    match name.split('.').collect::<Vec<_>>()[..] {
        [stack, "block", block, "layer", _, part, layer] => {
            Some(Place { stack, block: block.parse().ok()?, part, layer })
        }
        _ => None,
    }
}

/// As it is called here.
fn part_name(part: &str) -> &str {
    match part {
        "SelfAttention" => "self-attention",
        "EncDecAttention" => "cross-attention",
        "DenseReluDense" => "feed-forward",
        other => other,
    }
}

/// The maps; nothing without an adapter.
pub(super) fn maps(norms: &[LayerNorm]) -> String {
    let most = norms.iter().map(|layer| layer.norm).fold(0.0, f64::max);
    let mut stacks: BTreeMap<&str, Vec<(Place, f64)>> = BTreeMap::new();
    let mut others = String::new();
    for LayerNorm { layer, norm } in norms {
        match place(layer) {
            Some(place) => stacks.entry(place.stack).or_default().push((place, *norm)),
            None => {
                let _ = write!(others, "<tr><th>{}</th>{}</tr>", Text(layer), cell(Some(*norm), most));
            }
        }
    }
    // The encoder comes first, as in the model.
    let mut found: String = stacks.iter().rev().map(|(stack, layers)| map(stack, layers, most)).collect();
    if !others.is_empty() {
        let _ =
            write!(found, "<div class=\"wide\"><table class=\"heat\"><tbody>{others}</tbody></table></div>");
    }
    if found.is_empty() { found } else { format!("<div class=\"maps\">\n{found}</div>\n") }
}

fn map(stack: &str, layers: &[(Place, f64)], most: f64) -> String {
    let mut columns: Vec<(&str, &str)> = Vec::new();
    for (place, _) in layers {
        if !columns.contains(&(place.part, place.layer)) {
            columns.push((place.part, place.layer));
        }
    }
    // As the model goes through them.
    let order = |column: &(&str, &str)| {
        let rank =
            |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap_or(names.len());
        let part = rank(&["SelfAttention", "EncDecAttention", "DenseReluDense"], column.0);
        (part, rank(&["q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo"], column.1))
    };
    columns.sort_by_key(order);
    let mut head = String::from("<tr><th rowspan=\"2\" class=\"block\">block</th>");
    for columns in columns.chunk_by(|a, b| a.0 == b.0) {
        let (part, span) = (Text(part_name(columns[0].0)), columns.len());
        let _ = write!(head, "<th colspan=\"{span}\">{part}</th>");
    }
    head.push_str("</tr><tr>");
    for column in &columns {
        let _ = write!(head, "<th>{}</th>", Text(column.1));
    }
    head.push_str("</tr>");
    let mut blocks: Vec<usize> = layers.iter().map(|(place, _)| place.block).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let mut body = String::new();
    for block in blocks {
        let _ = write!(body, "<tr><th>{block}</th>");
        for column in &columns {
            let at = |place: &Place| place.block == block && (place.part, place.layer) == *column;
            let norm = layers.iter().find(|(place, _)| at(place)).map(|(_, norm)| *norm);
            body.push_str(&cell(norm, most));
        }
        body.push_str("</tr>\n");
    }
    format!(
        "<div class=\"wide\"><table class=\"heat\"><caption>{}</caption><thead>{head}</thead>\n<tbody>\n{body}</tbody>\
         </table></div>\n",
        Text(stack)
    )
}

fn cell(norm: Option<f64>, most: f64) -> String {
    match norm {
        None => "<td></td>".to_owned(),
        Some(norm) => {
            let share = if most > 0.0 { 100.0 * norm / most } else { 0.0 };
            // All to the same decimals, three digits of the largest.
            let text = match most {
                1e-3..1e6 => format!("{norm:.*}", (2.0 - most.log10().floor()).max(0.0) as usize),
                _ => short(norm),
            };
            format!("<td style=\"--heat:{share:.0}%\">{text}</td>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_find_their_place() {
        let norm = |layer: &str, norm| LayerNorm { layer: layer.into(), norm };
        let drawn = maps(&[
            norm("decoder.block.10.layer.1.EncDecAttention.v", 1.0),
            norm("decoder.block.2.layer.1.EncDecAttention.q", 4.0),
            norm("encoder.block.0.layer.0.SelfAttention.q", 2.0),
            norm("lm_head", 0.0),
        ]);
        let encoder = drawn.find("<caption>encoder").unwrap();
        let decoder = drawn.find("<caption>decoder").unwrap();
        assert!(encoder < decoder);
        assert!(
            drawn[..decoder].contains("<tr><th>0</th><td style=\"--heat:50%\">2.00</td></tr>"),
            "{drawn}"
        );
        let rows = "<tr><th>2</th><td style=\"--heat:100%\">4.00</td><td></td></tr>\n\
                    <tr><th>10</th><td></td><td style=\"--heat:25%\">1.00</td></tr>";
        assert!(drawn[decoder..].contains(rows), "{drawn}");
        assert!(drawn.contains("<tr><th>lm_head</th><td style=\"--heat:0%\">0.00</td></tr>"), "{drawn}");
        assert_eq!(maps(&[]), "");
    }
}
