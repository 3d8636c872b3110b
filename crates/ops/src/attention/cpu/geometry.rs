use std::ops::Range;

use candle_core::Tensor;

use super::softmax::{LANES, Row};
use crate::attention::AttentionLayout;
use crate::cpu::Values;
use crate::cpu::gemm::View;
use crate::{Mask, Result, trace};

/// Queries to a block: the block's probabilities stay in the second-level cache.
pub(super) const BLOCK: usize = 256;

/// One row of the batch and one head: they touch disjoint parts of q, k, v and y.
pub(super) struct Task {
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    pub head: usize,
}

/// One block of a task's queries.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub head: usize,
    /// The first row of q and y, and how many.
    pub query: usize,
    pub queries: usize,
    /// The first query's position among the segment's keys.
    pub position: usize,
    /// The first row of k and v, and how many the block sees.
    pub key: usize,
    pub keys: usize,
}

impl Block {
    /// The values to a row of its scores.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.keys.next_multiple_of(LANES)
    }

    /// Its scores, a row to each query.
    pub fn scores<'a>(&self, scores: &'a [f32]) -> View<'a> {
        View::strided(scores, self.queries, self.keys, self.stride())
    }
}

/// What forward and backward share.
pub(super) struct Geometry<'a> {
    pub layout: &'a AttentionLayout,
    pub width: usize,
    pub queries: usize,
    /// The table with room behind it for a row's last vector, and its reach.
    pub bias: Option<(Vec<f32>, usize)>,
    pub mask: Option<Mask>,
}

impl<'a> Geometry<'a> {
    pub fn new(
        layout: &'a AttentionLayout,
        q: &Tensor,
        bias: Option<&Values<f32>>,
        mask: Option<Mask>,
    ) -> Result<Self> {
        let (queries, inner) = q.dims2()?;
        let bias = bias.map(|table| {
            let reach = (table.len() / layout.heads).div_ceil(2);
            let mut padded = table.to_vec();
            padded.resize(table.len() + LANES, 0.0);
            (padded, reach)
        });
        Ok(Self { layout, width: inner / layout.heads, queries, bias, mask })
    }

    pub fn stride(&self) -> usize {
        self.layout.heads * self.width
    }

    pub fn tasks(&self) -> Vec<Task> {
        let heads = 0..self.layout.heads;
        let rows = self.layout.rows();
        rows.flat_map(|(queries, keys)| {
            heads.clone().map(move |head| Task { queries: queries.clone(), keys: keys.clone(), head })
        })
        .collect()
    }

    pub fn blocks(&self, task: &Task) -> Vec<Block> {
        let first = self.layout.first_position(&task.queries, &task.keys);
        let block = |query: usize| {
            let queries = BLOCK.min(task.queries.end - query);
            let position = first + query - task.queries.start;
            let keys = if self.layout.causal { position + queries } else { task.keys.len() };
            Block { head: task.head, query, queries, position, key: task.keys.start, keys }
        };
        task.queries.clone().step_by(BLOCK).map(block).collect()
    }

    /// Counts the products of all tasks, `products` of them a block.
    pub fn count(&self, tasks: &[Task], products: usize) {
        for block in tasks.iter().flat_map(|task| self.blocks(task)) {
            trace::product(products * block.queries, self.width, block.keys);
        }
    }

    /// What the scores of query `i` of a block are read with.
    #[inline(always)]
    pub fn row(&self, block: &Block, i: usize) -> Row<'_> {
        let bias = self.bias.as_ref().map(|(table, reach)| {
            let first = block.head * (2 * reach - 1) + reach - 1 - (block.position + i);
            table[first..][..block.stride()].as_chunks().0
        });
        let mask = self.mask.map(|mask| mask.row((block.head * self.queries + block.query + i) as u32));
        let visible = if self.layout.causal { block.position + i + 1 } else { block.keys };
        Row { visible, bias, mask }
    }

    /// The rows of a block in q or y, and in k or v.
    pub fn query_view<'b>(&self, x: &'b [f32], block: &Block) -> View<'b> {
        View::strided(&x[self.query_at(block)..], block.queries, self.width, self.stride())
    }

    pub fn key_view<'b>(&self, x: &'b [f32], block: &Block) -> View<'b> {
        View::strided(&x[self.key_at(block)..], block.keys, self.width, self.stride())
    }

    pub fn query_at(&self, block: &Block) -> usize {
        block.query * self.stride() + block.head * self.width
    }

    pub fn key_at(&self, block: &Block) -> usize {
        block.key * self.stride() + block.head * self.width
    }
}
