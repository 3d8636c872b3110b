use std::collections::HashMap;

use super::{Score, lcs};

/// ROUGE-Lsum (Lin 2004, section 3.2) over the tokens of each line.
///
/// The paper counts every token of the unions. ROUGE-1.5.5 and `rouge_score` count a token at most as often as the
/// prediction has it, so that a predicted word is not credited to two lines of the reference; so does this.
pub(super) fn score(target: &[Vec<usize>], prediction: &[Vec<usize>]) -> Score {
    let mut unmatched: HashMap<usize, usize> = HashMap::new();
    for &token in prediction.iter().flatten() {
        *unmatched.entry(token).or_default() += 1;
    }
    let mut hits = 0;
    for line in target {
        let mut marked = vec![false; line.len()];
        for predicted in prediction {
            lcs::mark(line, predicted, &mut marked);
        }
        for token in line.iter().zip(&marked).filter_map(|(token, &marked)| marked.then_some(token)) {
            // No such count for the target: each of its tokens is met once.
            if let Some(left) = unmatched.get_mut(token).filter(|left| **left > 0) {
                *left -= 1;
                hits += 1;
            }
        }
    }
    Score::of_counts(hits, prediction.iter().map(Vec::len).sum(), target.iter().map(Vec::len).sum())
}
