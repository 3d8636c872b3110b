use std::ops::Range;

use candle_core::Tensor;

use crate::attention::AttentionLayout;
use crate::cpu::gemm::View;
use crate::cpu::{Values, simd};
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

/// What forward and backward share.
pub(super) struct Geometry<'a> {
    pub layout: &'a AttentionLayout,
    pub width: usize,
    pub queries: usize,
    /// The table, and its reach.
    pub bias: Option<(&'a [f32], usize)>,
    pub mask: Option<Mask>,
}

impl<'a> Geometry<'a> {
    pub fn new(
        layout: &'a AttentionLayout,
        q: &Tensor,
        bias: Option<&'a Values<f32>>,
        mask: Option<Mask>,
    ) -> Result<Self> {
        let (queries, inner) = q.dims2()?;
        let bias = bias.map(|table| (&**table, (table.len() / layout.heads).div_ceil(2)));
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

    /// How many keys query `i` of a block sees.
    #[inline(always)]
    pub fn visible(&self, block: &Block, i: usize) -> usize {
        if self.layout.causal { block.position + i + 1 } else { block.keys }
    }

    /// The bias of keys 0, 1, .. for one query.
    #[inline(always)]
    pub fn bias_row(&self, block: &Block, i: usize) -> Option<&[f32]> {
        let (table, reach) = self.bias.as_ref()?;
        Some(&table[block.head * (2 * reach - 1) + reach - 1 - (block.position + i)..])
    }

    #[inline(always)]
    pub fn mask_row(&self, block: &Block, i: usize) -> Option<Mask> {
        Some(self.mask?.row((block.head * self.queries + block.query + i) as u32))
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

    /// Scores to e^(score + bias - max), in place; returns their sum and the max.
    #[inline(always)]
    pub fn softmax_row(&self, block: &Block, i: usize, row: &mut [f32]) -> (f32, f32) {
        let (row, hidden) = row.split_at_mut(self.visible(block, i));
        hidden.fill(0.0);
        if let Some(bias) = self.bias_row(block, i) {
            for (score, bias) in row.iter_mut().zip(bias) {
                *score += bias;
            }
        }
        let max = simd::max(row);
        (simd::map_sum(row, |score| simd::exp(score - max)), max)
    }

    /// Scores to drop(P), and the gradient of drop(P) to dS = P (dP - sum(P dP)), both in place.
    #[inline(always)]
    pub fn backward_row(&self, block: &Block, i: usize, log_sum_exp: f32, p: &mut [f32], dp: &mut [f32]) {
        let visible = self.visible(block, i);
        p[visible..].fill(0.0);
        dp[visible..].fill(0.0);
        let (p, dp) = (&mut p[..visible], &mut dp[..visible]);
        match self.bias_row(block, i) {
            Some(bias) => {
                for (p, bias) in p.iter_mut().zip(bias) {
                    *p = simd::exp(*p + bias - log_sum_exp);
                }
            }
            None => p.iter_mut().for_each(|p| *p = simd::exp(*p - log_sum_exp)),
        }
        let mask = self.mask_row(block, i);
        if let Some(mask) = mask {
            for (dp, key) in dp.iter_mut().zip(0..) {
                *dp *= mask.factor(key);
            }
        }
        let mean = simd::sum2(p, dp, |p, dp| p * dp);
        for (dp, p) in dp.iter_mut().zip(p.iter()) {
            *dp = *p * (*dp - mean);
        }
        if let Some(mask) = mask {
            for (p, key) in p.iter_mut().zip(0..) {
                *p *= mask.factor(key);
            }
        }
    }
}
