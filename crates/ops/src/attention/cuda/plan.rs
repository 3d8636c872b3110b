use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::attention::AttentionLayout;
use crate::cuda::{Cuda, wanted};
use crate::{Result, Segments};

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

/// Units whose scores exist together.
pub struct Chunk {
    pub units: Vec<Unit>,
    /// The values of the scratch buffer.
    pub scores: usize,
    /// The units as the kernels read them, then the offsets of queries, keys and scores by unit and head.
    device: Tensor,
    heads: usize,
}

impl Chunk {
    /// The most lines of scores of one unit.
    pub fn lines(&self) -> usize {
        self.units.iter().map(|unit| unit.queries.len()).max().unwrap_or(0) * self.heads
    }

    /// Where the units lie on the device.
    pub fn device_units(&self) -> Result<u64> {
        wanted(&self.device, DType::I64)
    }

    /// Where the offsets of queries (0), keys (1) or scores (2) lie on the device.
    pub fn device_offsets(&self, kind: usize) -> Result<u64> {
        let products = self.units.len() * self.heads;
        Ok(self.device_units()? + 8 * (8 * self.units.len() + kind * products) as u64)
    }
}

/// How attention over one layout is computed, chunk by chunk; all layers of a batch share it.
pub struct Plan {
    pub chunks: Vec<Chunk>,
    queries: Arc<Segments>,
    keys: Arc<Segments>,
    heads: usize,
    width: usize,
    causal: bool,
}

/// The plans of the layouts that were used last.
#[derive(Default)]
pub struct Plans(Vec<Arc<Plan>>);

/// An encoder's, a decoder's and the one between, of two batches.
const KEPT: usize = 6;

impl Plans {
    /// The plan of a layout over rows of `heads` x `width` values.
    pub fn find(&mut self, cuda: &Cuda, layout: &AttentionLayout, width: usize) -> Result<Arc<Plan>> {
        if let Some(place) = self.0.iter().position(|plan| plan.is_of(layout, width)) {
            let plan = self.0.remove(place);
            self.0.push(plan.clone());
            return Ok(plan);
        }
        let plan = Arc::new(Plan::new(cuda, layout, width)?);
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(plan.clone());
        Ok(plan)
    }
}

impl Plan {
    fn is_of(&self, layout: &AttentionLayout, width: usize) -> bool {
        // The plan keeps its segments alive, so that one address stands for one of them.
        Arc::ptr_eq(&self.queries, &layout.queries)
            && Arc::ptr_eq(&self.keys, &layout.keys)
            && (self.heads, self.width, self.causal) == (layout.heads, width, layout.causal)
    }

    fn new(cuda: &Cuda, layout: &AttentionLayout, width: usize) -> Result<Self> {
        let chunks = chunks(layout, cuda.settings.scores)
            .into_iter()
            .map(|units| Self::chunk(cuda, layout, width, units));
        Ok(Self {
            chunks: chunks.collect::<Result<_>>()?,
            queries: layout.queries.clone(),
            keys: layout.keys.clone(),
            heads: layout.heads,
            width,
            causal: layout.causal,
        })
    }

    fn chunk(cuda: &Cuda, layout: &AttentionLayout, width: usize, units: Vec<Unit>) -> Result<Chunk> {
        let (heads, inner) = (layout.heads, layout.heads * width);
        let mut values: Vec<i64> = Vec::with_capacity(units.len() * (8 + 3 * heads));
        for unit in &units {
            let Unit { queries, keys, position, scores, stride, .. } = unit;
            let words = [queries.start, queries.len(), keys.start, keys.len(), *position, *scores, *stride];
            values.extend(words.map(|word| word as i64));
            values.push(i64::from(layout.causal));
        }
        // Of queries, keys and scores: where a unit's first head starts, and how far it is to the next.
        let steps = |unit: &Unit| {
            [
                (unit.queries.start * inner, width),
                (unit.keys.start * inner, width),
                (unit.scores, unit.queries.len() * unit.stride),
            ]
        };
        for kind in 0..3 {
            for unit in &units {
                let (start, step) = steps(unit)[kind];
                values.extend((0..heads).map(|head| (start + head * step) as i64));
            }
        }
        let scores = units.last().map_or(0, |unit| unit.scores + heads * unit.queries.len() * unit.stride);
        Ok(Chunk { units, scores, device: cuda.upload(values)?, heads })
    }
}

/// The rows of a layout as units, in chunks of at most `most` scores each; a row that has more alone is cut by its
/// queries, and a single line that has more is a chunk of its own.
fn chunks(layout: &AttentionLayout, most: usize) -> Vec<Vec<Unit>> {
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
    use super::*;

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
