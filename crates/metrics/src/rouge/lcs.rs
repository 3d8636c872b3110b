//! The longest common subsequence: its length for ROUGE-L, which tokens are in it for ROUGE-Lsum.

use super::Score;

/// ROUGE-L (Lin 2004, section 3.1) over tokens.
pub(super) fn score(target: &[usize], prediction: &[usize]) -> Score {
    Score::of_counts(length(target, prediction), prediction.len(), target.len())
}

/// The length of the longest common subsequence, in time of the product and memory of the smaller of the lengths.
fn length(one: &[usize], other: &[usize]) -> usize {
    let (long, short) = if one.len() < other.len() { (other, one) } else { (one, other) };
    let mut row = Row::new(short.len());
    for &token in long {
        row.advance(token, short, |_, _| ());
    }
    row.last()
}

/// Marks the tokens of `target` in one longest common subsequence with `prediction`.
///
/// `marked` has an entry for each token of `target`; marks that are there stay, so that calls in turn give a union.
/// Of several longest subsequences it is the one that `rouge_score` finds, from the ends of both: equal tokens are
/// paired, else the one that leads to more is dropped, and of two that lead to as much that of the target. Memory is
/// a byte for each pair of tokens.
pub(super) fn mark(target: &[usize], prediction: &[usize], marked: &mut [bool]) {
    let columns = prediction.len();
    let mut drops_predicted = vec![false; target.len() * columns];
    let mut row = Row::new(columns);
    for (i, &token) in target.iter().enumerate() {
        row.advance(token, prediction, |j, left_is_more| drops_predicted[i * columns + j] = left_is_more);
    }
    let (mut i, mut j) = (target.len(), columns);
    while i > 0 && j > 0 {
        if target[i - 1] == prediction[j - 1] {
            marked[i - 1] = true;
            i -= 1;
            j -= 1;
        } else if drops_predicted[(i - 1) * columns + j - 1] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
}

/// A row of the table of lengths: entry `j` is the length over the tokens so far and the first `j` columns.
struct Row(Vec<usize>);

impl Row {
    fn new(columns: usize) -> Self {
        Self(vec![0; columns + 1])
    }

    /// Goes on to the row of one more token. For each column, `visit` is told its index and whether the entry to the
    /// left of it is more than that above it.
    fn advance(&mut self, token: usize, columns: &[usize], mut visit: impl FnMut(usize, bool)) {
        let (mut diagonal, mut left) = (0, 0);
        for ((j, &column), entry) in columns.iter().enumerate().zip(&mut self.0[1..]) {
            let above = *entry;
            visit(j, left > above);
            *entry = if token == column { diagonal + 1 } else { above.max(left) };
            (diagonal, left) = (above, *entry);
        }
    }

    fn last(&self) -> usize {
        self.0[self.0.len() - 1]
    }
}
