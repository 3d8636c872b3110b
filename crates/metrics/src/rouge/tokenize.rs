use crate::porter;

/// Shorter tokens are never stemmed, a rule of `rouge_score` (and of ROUGE-1.5.5).
const SHORTEST_STEMMED: usize = 4;

/// The tokens that ROUGE compares: the runs of ASCII letters and digits of the lower-cased text.
///
/// Everything else separates tokens, so `don't` is two, `café` is `caf`, and a text in a script other than Latin has
/// none. Lower-casing is that of Unicode, so the Kelvin sign is the letter `k`. With `stemmer`, tokens of four
/// characters and more are replaced by their [stems](porter::stem). This is the default tokeniser of `rouge_score`
/// 0.1.2.
///
/// ```
/// use tallow_metrics::rouge::tokenize;
///
/// assert_eq!(tokenize("Don't worry: 1,250 cafés!", false), ["don", "t", "worry", "1", "250", "caf", "s"]);
/// assert_eq!(tokenize("Don't worry: 1,250 cafés!", true), ["don", "t", "worri", "1", "250", "caf", "s"]);
/// ```
pub fn tokenize(text: &str, stemmer: bool) -> Vec<String> {
    text.to_lowercase()
        .split(|letter| !is_of_a_token(letter))
        .filter(|token| !token.is_empty())
        .map(|token| stemmed(token, stemmer))
        .collect()
}

/// Whether a letter in lower case is part of a token.
pub(super) fn is_of_a_token(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

/// A token as it is compared.
pub(super) fn stemmed(token: &str, stemmer: bool) -> String {
    if stemmer && token.len() >= SHORTEST_STEMMED { porter::stem(token) } else { token.to_owned() }
}
