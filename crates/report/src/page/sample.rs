use std::fmt::Write;

use super::html::Text;
use crate::samples::{Output, Sample};

/// Rows with what was written for them.
pub(super) fn list(samples: &[Sample]) -> String {
    samples.iter().map(one).collect()
}

fn one(sample: &Sample) -> String {
    let mut outputs = String::new();
    if let Some(before) = &sample.before {
        output(&mut outputs, "before", before);
    }
    output(&mut outputs, "after", &sample.after);
    let mut references = String::new();
    for (index, reference) in sample.references.iter().enumerate() {
        let nearest = sample.references.len() > 1 && sample.after.reference == Some(index);
        let class = if nearest { " class=\"nearest\"" } else { "" };
        let _ = write!(references, "<li{class}>{}</li>", Text(reference));
    }
    let name = if sample.references.len() == 1 { "reference" } else { "references" };
    format!(
        "<article class=\"sample\">\n<div class=\"prompt\"><h3>{row}</h3><div class=\"text\" tabindex=\"0\">{prompt}</div>\
         </div>\n<dl>{outputs}<dt>{name}</dt><dd><ul>{references}</ul></dd></dl>\n</article>\n",
        row = Text(&sample.row),
        prompt = Text(&sample.prompt),
    )
}

fn output(list: &mut String, name: &str, output: &Output) {
    let score = 100.0 * output.rouge1;
    let text = if output.text.trim().is_empty() { "<em>nothing</em>".to_owned() } else { marked(output) };
    let _ = write!(list, "<dt>{name} <span class=\"score\">{score:.1}</span></dt><dd>{text}</dd>");
}

fn marked(output: &Output) -> String {
    let (mut found, mut end) = (String::new(), 0);
    for place in &output.overlap {
        let (before, word) = (&output.text[end..place.start], &output.text[place.clone()]);
        let _ = write!(found, "{}<mark>{}</mark>", Text(before), Text(word));
        end = place.end;
    }
    let _ = write!(found, "{}", Text(&output.text[end..]));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_marked_and_the_rest_escaped() {
        let text = "<b>Ann</b> & cat".to_owned();
        let output = Output { overlap: vec![3..6, 13..16], text, rouge1: 0.5, reference: Some(0) };
        assert_eq!(marked(&output), "&lt;b&gt;<mark>Ann</mark>&lt;/b&gt; &amp; <mark>cat</mark>");
    }
}
