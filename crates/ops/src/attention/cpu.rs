use std::ops::Range;

use candle_core::Tensor;
use gemm::Parallelism;
use rayon::prelude::*;

use super::{AttentionGradients, AttentionKernel, AttentionLayout, AttentionSaved};
use crate::cpu::gemm::{View, gemm_at};
use crate::cpu::{Cpu, Values, scratch, simd, tensor, values};
use crate::{Mask, Result, trace};

/// Queries to a block: the block's probabilities stay in the second-level cache.
const BLOCK: usize = 256;

/// One row of the batch and one head: they touch disjoint parts of q, k, v and y.
struct Task {
    queries: Range<usize>,
    keys: Range<usize>,
    head: usize,
}

/// One block of a task's queries.
#[derive(Clone, Copy)]
struct Block {
    head: usize,
    /// The first row of q and y, and how many.
    query: usize,
    queries: usize,
    /// The first query's position among the segment's keys.
    position: usize,
    /// The first row of k and v, and how many the block sees.
    key: usize,
    keys: usize,
}

/// What forward and backward share.
struct Geometry<'a> {
    layout: &'a AttentionLayout,
    width: usize,
    queries: usize,
    /// The table, and its reach.
    bias: Option<(&'a [f32], usize)>,
    mask: Option<Mask>,
}

impl<'a> Geometry<'a> {
    fn new(
        layout: &'a AttentionLayout,
        q: &Tensor,
        bias: Option<&'a Values<f32>>,
        mask: Option<Mask>,
    ) -> Result<Self> {
        let (queries, inner) = q.dims2()?;
        let bias = bias.map(|table| (&**table, (table.len() / layout.heads).div_ceil(2)));
        Ok(Self { layout, width: inner / layout.heads, queries, bias, mask })
    }

    fn stride(&self) -> usize {
        self.layout.heads * self.width
    }

    fn tasks(&self) -> Vec<Task> {
        let heads = 0..self.layout.heads;
        let rows = self.layout.rows();
        rows.flat_map(|(queries, keys)| {
            heads.clone().map(move |head| Task { queries: queries.clone(), keys: keys.clone(), head })
        })
        .collect()
    }

    fn blocks(&self, task: &Task) -> Vec<Block> {
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
    fn count(&self, tasks: &[Task], products: usize) {
        for block in tasks.iter().flat_map(|task| self.blocks(task)) {
            trace::product(products * block.queries, self.width, block.keys);
        }
    }

    /// How many keys query `i` of a block sees.
    #[inline(always)]
    fn visible(&self, block: &Block, i: usize) -> usize {
        if self.layout.causal { block.position + i + 1 } else { block.keys }
    }

    /// The bias of keys 0, 1, .. for one query.
    #[inline(always)]
    fn bias_row(&self, block: &Block, i: usize) -> Option<&[f32]> {
        let (table, reach) = self.bias.as_ref()?;
        Some(&table[block.head * (2 * reach - 1) + reach - 1 - (block.position + i)..])
    }

    #[inline(always)]
    fn mask_row(&self, block: &Block, i: usize) -> Option<Mask> {
        Some(self.mask?.row((block.head * self.queries + block.query + i) as u32))
    }

    /// The rows of a block in q or y, and in k or v.
    fn query_view<'b>(&self, x: &'b [f32], block: &Block) -> View<'b> {
        View::strided(&x[self.query_at(block)..], block.queries, self.width, self.stride())
    }

    fn key_view<'b>(&self, x: &'b [f32], block: &Block) -> View<'b> {
        View::strided(&x[self.key_at(block)..], block.keys, self.width, self.stride())
    }

    fn query_at(&self, block: &Block) -> usize {
        block.query * self.stride() + block.head * self.width
    }

    fn key_at(&self, block: &Block) -> usize {
        block.key * self.stride() + block.head * self.width
    }

    /// Scores to e^(score + bias - max), in place; returns their sum and the max.
    #[inline(always)]
    fn softmax_row(&self, block: &Block, i: usize, row: &mut [f32]) -> (f32, f32) {
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
    fn backward_row(&self, block: &Block, i: usize, log_sum_exp: f32, p: &mut [f32], dp: &mut [f32]) {
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

/// An output that tasks write disjoint parts of.
#[derive(Clone, Copy)]
struct Target(*mut f32);

// SAFETY: every task writes the part of its own row and head.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    fn new(buffer: &mut [f32]) -> Self {
        Self(buffer.as_mut_ptr())
    }

    fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

impl AttentionKernel for Cpu {
    fn attention(
        &self,
        layout: &AttentionLayout,
        [q, k, v]: [&Tensor; 3],
        bias: Option<&Tensor>,
        mask: Option<Mask>,
    ) -> Result<(Tensor, Tensor)> {
        let bias = bias.map(values).transpose()?;
        let geometry = Geometry::new(layout, q, bias.as_ref(), mask)?;
        let (stride, width, heads) = (geometry.stride(), geometry.width, layout.heads);
        let rows = q.dim(0)?;
        let [q, k, v] = [values(q)?, values(k)?, values(v)?];
        let covered = layout.queries.ranges().iter().map(Range::len).sum::<usize>() == rows;
        let buffer = |cols: usize| if covered { scratch(rows * cols) } else { vec![0.0; rows * cols] };
        let (mut y, mut lse) = (buffer(stride), buffer(heads));
        let (y_target, lse_target) = (Target::new(&mut y), Target::new(&mut lse));
        let longest = layout.keys.longest();
        let most = layout.queries.longest().min(BLOCK);
        let (q, k, v, geometry) = (&*q, &*k, &*v, &geometry);
        let forward = |p: &mut Vec<f32>, task: &Task| {
            for block in geometry.blocks(task) {
                let p = &mut p[..block.queries * block.keys];
                let mut inverse = [0.0; BLOCK];
                // SAFETY: p has the size of the product; this task owns its part of y and lse.
                unsafe {
                    let (q, k) = (geometry.query_view(q, &block), geometry.key_view(k, &block));
                    gemm_at(p.as_mut_ptr(), block.keys, q, k.t(), 1.0, false, Parallelism::None);
                    simd::run(
                        #[inline(always)]
                        || {
                            for (i, row) in p.chunks_exact_mut(block.keys).enumerate() {
                                let (sum, max) = geometry.softmax_row(&block, i, row);
                                inverse[i] = 1.0 / sum;
                                *lse_target.at((block.query + i) * heads + block.head) = max + sum.ln();
                                if let Some(mask) = geometry.mask_row(&block, i) {
                                    for (p, key) in row.iter_mut().zip(0..) {
                                        *p *= mask.factor(key);
                                    }
                                }
                            }
                        },
                    );
                    let y = y_target.at(geometry.query_at(&block));
                    let p = View::new(p, block.queries, block.keys);
                    gemm_at(y, stride, p, geometry.key_view(v, &block), 1.0, false, Parallelism::None);
                    for (i, inverse) in inverse[..block.queries].iter().enumerate() {
                        let row = std::slice::from_raw_parts_mut(y.wrapping_add(i * stride), width);
                        row.iter_mut().for_each(|y| *y *= inverse);
                    }
                }
            }
        };
        let tasks = geometry.tasks();
        geometry.count(&tasks, 2);
        tasks.par_iter().for_each_init(|| scratch(most * longest), |p, task| forward(p, task));
        Ok((tensor(y, (rows, stride))?, tensor(lse, (rows, heads))?))
    }

    fn attention_backward(
        &self,
        layout: &AttentionLayout,
        saved: AttentionSaved,
        dy: &Tensor,
        [wants_q, wants_k, wants_v, wants_bias]: [bool; 4],
    ) -> Result<AttentionGradients> {
        let [q, k, v] = saved.qkv;
        let shapes = [q, k, v].map(|x| x.shape().clone());
        let bias = saved.bias.map(values).transpose()?;
        let geometry = Geometry::new(layout, q, bias.as_ref(), saved.mask)?;
        let [q, k, v] = [values(q)?, values(k)?, values(v)?];
        let (lse, dy) = (values(saved.log_sum_exp)?, values(dy)?);
        let wanted = [wants_q, wants_k, wants_v];
        // Rows outside every segment keep their zeros.
        let covers = |rows: usize, segments: &crate::Segments| {
            segments.ranges().iter().map(Range::len).sum::<usize>() == rows
        };
        let mut found: [Option<Vec<f32>>; 3] = std::array::from_fn(|i| {
            let segments = if i == 0 { &layout.queries } else { &layout.keys };
            let (rows, len) = (shapes[i].dims()[0], shapes[i].elem_count());
            wanted[i].then(|| if covers(rows, segments) { scratch(len) } else { vec![0.0; len] })
        });
        let targets = found.each_mut().map(|buffer| buffer.as_mut().map(|buffer| Target::new(buffer)));
        let backward = Backward {
            geometry: &geometry,
            qkv: [&q, &k, &v],
            lse: &lse,
            dy: &dy,
            targets,
            wants_scores: wants_q || wants_k || wants_bias,
        };
        let most = layout.queries.longest().min(BLOCK) * layout.keys.longest();
        let tasks = geometry.tasks();
        let products = 1 + usize::from(backward.wants_scores) + targets.iter().flatten().count();
        geometry.count(&tasks, products);
        let scratches = || (scratch(most), scratch(most));
        let bias = if wants_bias {
            let reach = geometry.bias.as_ref().map_or(0, |(_, reach)| *reach);
            // Summed in the order of the tasks, so that the bits do not depend on the threads.
            let parts: Vec<(usize, Vec<f32>)> = tasks
                .par_iter()
                .map_init(scratches, |(p, dp), task| {
                    let mut part = vec![0.0; 2 * reach - 1];
                    backward.task(task, p, dp, Some(&mut part));
                    (task.head, part)
                })
                .collect();
            let mut bias = vec![0.0; layout.heads * (2 * reach - 1)];
            for (head, part) in parts {
                for (sum, x) in bias[head * (2 * reach - 1)..].iter_mut().zip(part) {
                    *sum += x;
                }
            }
            Some(tensor(bias, (layout.heads, 2 * reach - 1))?)
        } else {
            tasks.par_iter().for_each_init(scratches, |(p, dp), task| backward.task(task, p, dp, None));
            None
        };
        let mut gradients = AttentionGradients { bias, ..Default::default() };
        for ((gradient, buffer), shape) in gradients.qkv.iter_mut().zip(found).zip(shapes) {
            *gradient = buffer.map(|buffer| tensor(buffer, shape)).transpose()?;
        }
        Ok(gradients)
    }
}

struct Backward<'a> {
    geometry: &'a Geometry<'a>,
    qkv: [&'a [f32]; 3],
    lse: &'a [f32],
    dy: &'a [f32],
    targets: [Option<Target>; 3],
    wants_scores: bool,
}

impl Backward<'_> {
    fn task(&self, task: &Task, p: &mut [f32], dp: &mut [f32], mut bias: Option<&mut Vec<f32>>) {
        let blocks = self.geometry.blocks(task);
        if blocks.is_empty() {
            self.clear_keys(task);
        }
        // Later blocks of a causal segment see more keys: from the last block on, the first writes them all.
        for (done, block) in blocks.iter().rev().enumerate() {
            let size = block.queries * block.keys;
            let (p, dp) = (&mut p[..size], &mut dp[..size]);
            self.block(block, p, dp, done > 0);
            if let (Some(bias), Some((_, reach))) = (bias.as_mut(), &self.geometry.bias) {
                for (i, ds) in dp.chunks_exact(block.keys).enumerate() {
                    for (sum, ds) in bias[reach - 1 - (block.position + i)..].iter_mut().zip(ds) {
                        *sum += ds;
                    }
                }
            }
        }
    }

    /// A row without queries gives its keys no gradient.
    fn clear_keys(&self, task: &Task) {
        let width = self.geometry.width;
        for target in self.targets[1..].iter().flatten() {
            for key in task.keys.clone() {
                let at = key * self.geometry.stride() + task.head * width;
                // SAFETY: this task owns its part of dk and dv.
                unsafe { std::slice::from_raw_parts_mut(target.at(at), width) }.fill(0.0);
            }
        }
    }

    fn block(&self, block: &Block, p: &mut [f32], dp: &mut [f32], accumulate: bool) {
        let geometry = self.geometry;
        let [q, k, v] = self.qkv;
        let (stride, heads) = (geometry.stride(), geometry.layout.heads);
        let (q, k) = (geometry.query_view(q, block), geometry.key_view(k, block));
        let (v, dy) = (geometry.key_view(v, block), geometry.query_view(self.dy, block));
        let (at_query, at_key) = (geometry.query_at(block), geometry.key_at(block));
        // SAFETY: p and dp have the size of their products; dq, dk, dv are this task's own parts.
        unsafe {
            gemm_at(p.as_mut_ptr(), block.keys, q, k.t(), 1.0, false, Parallelism::None);
            match self.wants_scores {
                true => gemm_at(dp.as_mut_ptr(), block.keys, dy, v.t(), 1.0, false, Parallelism::None),
                false => dp.fill(0.0),
            }
            simd::run(
                #[inline(always)]
                || {
                    let rows = p.chunks_exact_mut(block.keys).zip(dp.chunks_exact_mut(block.keys));
                    for (i, (p, dp)) in rows.enumerate() {
                        let lse = self.lse[(block.query + i) * heads + block.head];
                        geometry.backward_row(block, i, lse, p, dp);
                    }
                },
            );
            let (p, ds) = (View::new(p, block.queries, block.keys), View::new(dp, block.queries, block.keys));
            let [dq, dk, dv] = self.targets;
            if let Some(dq) = dq {
                gemm_at(dq.at(at_query), stride, ds, k, 1.0, false, Parallelism::None);
            }
            if let Some(dk) = dk {
                gemm_at(dk.at(at_key), stride, ds.t(), q, 1.0, accumulate, Parallelism::None);
            }
            if let Some(dv) = dv {
                gemm_at(dv.at(at_key), stride, p.t(), dy, 1.0, accumulate, Parallelism::None);
            }
        }
    }
}
