use std::collections::HashMap;
use std::ops::Range;

use super::tokenize::{is_of_a_token, stemmed};
use super::{Score, tokenize};

/// Where the words of a text that count for ROUGE-1 against a reference lie in it, in bytes.
///
/// A word counts at most as often as the reference has it; of more, the first ones do. So their number over that of
/// the text's tokens is ROUGE-1's precision.
///
/// ```
/// use tallow_metrics::rouge::overlap;
///
/// let text = "The dogs: the cats, the end.";
/// let words: Vec<&str> = overlap("A dog and the cat", text, true).into_iter().map(|at| &text[at]).collect();
/// // The second "the" is one more than the reference has.
/// assert_eq!(words, ["The", "dogs", "cats"]);
/// assert_eq!(overlap("A dog", "dog dog", false), [0..3]);
/// ```
pub fn overlap(reference: &str, text: &str, stemmer: bool) -> Vec<Range<usize>> {
    let mut left: HashMap<String, usize> = HashMap::new();
    for token in tokenize(reference, stemmer) {
        *left.entry(token).or_default() += 1;
    }
    let mut places = places(text, stemmer);
    places.retain(|(_, token)| match left.get_mut(token) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    });
    places.into_iter().map(|(place, _)| place).collect()
}

/// Which of several references a text has the highest ROUGE-1 with, the first of equals.
///
/// ```
/// use tallow_metrics::rouge::nearest;
///
/// assert_eq!(nearest(&["red apples", "green pears"], "two pears", false), Some(1));
/// assert_eq!(nearest::<&str>(&[], "two pears", false), None);
/// ```
pub fn nearest<S: AsRef<str>>(references: &[S], text: &str, stemmer: bool) -> Option<usize> {
    let predicted = tokenize(text, stemmer).len();
    let score = |reference: &S| {
        let hits = overlap(reference.as_ref(), text, stemmer).len();
        Score::of_counts(hits, predicted, tokenize(reference.as_ref(), stemmer).len()).fmeasure
    };
    let scores = references.iter().map(score).enumerate();
    scores.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(index, _)| index)
}

/// The tokens of a text, each with its place in bytes.
fn places(text: &str, stemmer: bool) -> Vec<(Range<usize>, String)> {
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    // Whether the last one goes on. One letter may be several in lower case, not all of them of a token.
    let mut open = false;
    for (start, letter) in text.char_indices() {
        let end = start + letter.len_utf8();
        for lower in letter.to_lowercase() {
            match (is_of_a_token(lower), open) {
                (true, true) => {
                    let (place, token) = found.last_mut().expect("one is open");
                    place.end = end;
                    token.push(lower);
                }
                (true, false) => found.push((start..end, lower.to_string())),
                (false, _) => {}
            }
            open = is_of_a_token(lower);
        }
    }
    for (_, token) in &mut found {
        *token = stemmed(token, stemmer);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rouge, RougeType};

    const TEXTS: [&str; 6] = [
        "The cats were dying, the cat's skies: 1,250 cafés!",
        "İstanbul'da ΑΣ kelvin \u{212a}elvin",
        "don't   DON'T\nrelational relation",
        "…?!",
        "",
        "日本語 and cats, cats, the cats",
    ];

    #[test]
    fn places_hold_the_tokens() {
        for (text, stemmer) in TEXTS.iter().flat_map(|text| [(text, false), (text, true)]) {
            let found = places(text, stemmer);
            let tokens: Vec<&String> = found.iter().map(|(_, token)| token).collect();
            assert_eq!(tokens, tokenize(text, stemmer).iter().collect::<Vec<_>>(), "{text}");
            for (place, token) in found {
                assert!(tokenize(&text[place], stemmer).contains(&token), "{text}: {token}");
            }
        }
    }

    #[test]
    fn what_overlaps_is_what_rouge_1_counts() {
        for (reference, text) in TEXTS.iter().flat_map(|a| TEXTS.iter().map(move |b| (a, b))) {
            let rouge = Rouge { types: vec![RougeType::ROUGE_1], stemmer: true };
            let tokens = tokenize(text, true).len().max(1);
            let share = overlap(reference, text, true).len() as f64 / tokens as f64;
            assert_eq!(share, rouge.score(reference, text)[0].precision, "{reference} | {text}");
        }
    }
}
