mod backward;
mod geometry;
mod softmax;
mod target;

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use self::backward::Backward;
use self::geometry::{BLOCK, Geometry, Task};
use self::softmax::LANES;
use self::target::Target;
use super::{AttentionGradients, AttentionKernel, AttentionLayout, AttentionSaved};
use crate::cpu::gemm::gemm_at;
use crate::cpu::{Cpu, scratch, simd, tensor, values};
use crate::{Mask, Result};

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
        let longest = layout.keys.longest().next_multiple_of(LANES);
        let most = layout.queries.longest().min(BLOCK);
        let (q, k, v, geometry) = (&*q, &*k, &*v, &geometry);
        let forward = |p: &mut Vec<f32>, task: &Task| {
            for block in geometry.blocks(task) {
                let p = &mut p[..block.queries * block.stride()];
                let mut inverse = [0.0; BLOCK];
                // SAFETY: p has room for the product; this task owns its part of y and lse.
                unsafe {
                    let (q, k) = (geometry.query_view(q, &block), geometry.key_view(k, &block));
                    gemm_at(p.as_mut_ptr(), block.stride(), q, k.t(), 1.0, false, 1);
                    simd::run(
                        #[inline(always)]
                        || {
                            for (i, row) in p.chunks_exact_mut(block.stride()).enumerate() {
                                let (sum, max) = geometry.row(&block, i).exponentials(row.as_chunks_mut().0);
                                inverse[i] = 1.0 / sum;
                                *lse_target.at((block.query + i) * heads + block.head) = max + sum.ln();
                            }
                        },
                    );
                    let y = y_target.at(geometry.query_at(&block));
                    let v = geometry.key_view(v, &block);
                    gemm_at(y, stride, block.scores(p), v, 1.0, false, 1);
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
        let longest = layout.keys.longest().next_multiple_of(LANES);
        let most = layout.queries.longest().min(BLOCK) * longest;
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
