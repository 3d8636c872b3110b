use std::collections::HashMap;

use super::Score;

/// ROUGE-N (Lin 2004, section 2) over tokens. Time and memory are of the order of tokens times `n`.
pub(super) fn score(target: &[usize], prediction: &[usize], n: usize) -> Score {
    let mut unmatched: HashMap<&[usize], usize> = HashMap::new();
    for ngram in target.windows(n) {
        *unmatched.entry(ngram).or_default() += 1;
    }
    let mut hits = 0;
    for ngram in prediction.windows(n) {
        if let Some(left) = unmatched.get_mut(ngram).filter(|left| **left > 0) {
            *left -= 1;
            hits += 1;
        }
    }
    Score::of_counts(hits, prediction.windows(n).len(), target.windows(n).len())
}
