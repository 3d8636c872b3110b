//! What the virtual tokens of a prompt lie near to.

use std::fmt::Write;

use super::html::Text;
use crate::run::NearToken;

pub(super) const INTRO: &str = "The vocabulary’s tokens nearest to each virtual token of the prompt, by the cosine between \
                                their embeddings; ▁ begins a word. A prompt that has learnt something need not read as text.";

/// A row for each virtual token; nothing without a prompt.
pub(super) fn table(prompt: &[Vec<NearToken>]) -> String {
    if prompt.is_empty() {
        return String::new();
    }
    let mut table = String::from("<div class=\"wide\"><table class=\"near\"><tbody>\n");
    for (number, nearest) in prompt.iter().enumerate() {
        let _ = write!(table, "<tr><th>{}</th>", number + 1);
        for NearToken { token, cosine, .. } in nearest {
            let heat = 100.0 * cosine.clamp(0.0, 1.0);
            let token = Text(token);
            let _ = write!(table, "<td style=\"--heat:{heat:.0}%\">{token}<small>{cosine:.2}</small></td>");
        }
        table.push_str("</tr>\n");
    }
    table + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_nearest_tokens() {
        let near = |token: &str, cosine| NearToken { token: token.into(), id: 7, cosine };
        let drawn = table(&[vec![near("▁the", 1.0), near("<pad>", -0.25)]]);
        let row = "<tr><th>1</th><td style=\"--heat:100%\">▁the<small>1.00</small></td>\
                   <td style=\"--heat:0%\">&lt;pad&gt;<small>-0.25</small></td></tr>";
        assert!(drawn.contains(row), "{drawn}");
        assert_eq!(table(&[]), "");
    }
}
