//! The rows of a batch, cut to what a device's memory holds of their scores.

use std::ops::Range;

use super::AttentionLayout;

/// Units of a chunk: blocks of a grid's second dimension.
const UNITS: usize = 32 * 1024;
/// Lines of scores start at multiples of so many values, for the sake of the products.
const ALIGNMENT: usize = 8;

/// Some queries of one row of the batch, with all its keys: the kernels' struct Unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    /// The place of the first query among the keys.
    pub position: usize,
    /// Where its scores start, (heads, queries, stride).
    pub scores: usize,
    pub stride: usize,
    /// Whether an earlier unit has the same keys: their gradients are added to.
    pub again: bool,
}

/// The rows of a layout as units, in chunks of at most `most` scores each; a row that has more alone is cut by its
/// queries, and a single line that has more is a chunk of its own.
pub fn chunks(layout: &AttentionLayout, most: usize) -> Vec<Vec<Unit>> {
    let mut chunks: Vec<Vec<Unit>> = Vec::new();
    let mut used = 0;
    for (queries, keys) in layout.rows().filter(|(queries, _)| !queries.is_empty()) {
        let stride = keys.len().next_multiple_of(ALIGNMENT);
        let line = layout.heads * stride;
        let block = (most / line).clamp(1, queries.len());
        let first = layout.first_position(&queries, &keys);
        for start in (0..queries.len()).step_by(block) {
            let count = block.min(queries.len() - start);
            let again = start > 0;
            // Units of the same keys are never in one chunk: their gradients are added one after the other.
            let full = |chunk: &Vec<Unit>| used + count * line > most || chunk.len() == UNITS || again;
            if chunks.last().is_none_or(full) {
                chunks.push(Vec::new());
                used = 0;
            }
            let begin = queries.start + start;
            chunks.last_mut().expect("one was just made").push(Unit {
                queries: begin..begin + count,
                keys: keys.clone(),
                position: first + start,
                scores: used,
                stride,
                again,
            });
            used += count * line;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Segments;

    fn layout(queries: &[usize], keys: &[usize]) -> AttentionLayout {
        let packed = |lengths: &[usize]| Arc::new(Segments::packed(lengths.iter().copied()));
        AttentionLayout { heads: 2, causal: true, queries: packed(queries), keys: packed(keys) }
    }

    #[test]
    fn chunks_hold_what_they_may_and_every_query_once() {
        let layout = layout(&[3, 0, 40, 1, 5], &[3, 2, 50, 9, 5]);
        for most in [1, 100, 1000, 5000, 1 << 20] {
            let chunks = chunks(&layout, most);
            let mut seen = Vec::new();
            for chunk in &chunks {
                let mut end = 0;
                for unit in chunk {
                    assert_eq!(unit.scores, end, "scores follow one another");
                    assert!(unit.stride >= unit.keys.len() && unit.stride % ALIGNMENT == 0);
                    end += 2 * unit.queries.len() * unit.stride;
                    seen.extend(unit.queries.clone());
                }
                let keys: Vec<usize> = chunk.iter().map(|unit| unit.keys.start).collect();
                assert!(keys.is_sorted_by(|a, b| a < b), "no chunk has the same keys twice");
                assert!(end <= most || (chunk.len() == 1 && chunk[0].queries.len() == 1));
            }
            assert_eq!(seen, (0..49).collect::<Vec<_>>());
        }
        assert_eq!(chunks(&layout, 1 << 20).len(), 1);
    }

    #[test]
    fn cut_rows_keep_their_places() {
        let units: Vec<Unit> = chunks(&layout(&[4], &[10]), 2 * 16 * 3).concat();
        let places: Vec<_> =
            units.iter().map(|unit| (unit.queries.clone(), unit.position, unit.again)).collect();
        assert_eq!(places, [(0..3, 6, false), (3..4, 9, true)]);
    }
}
