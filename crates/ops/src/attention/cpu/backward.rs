use super::geometry::{Block, Geometry, Task};
use super::target::Target;
use crate::cpu::gemm::gemm_at;
use crate::cpu::simd;

/// One pass backward; each task writes its own part of the gradients.
pub(super) struct Backward<'a> {
    pub geometry: &'a Geometry<'a>,
    pub qkv: [&'a [f32]; 3],
    pub lse: &'a [f32],
    pub dy: &'a [f32],
    pub targets: [Option<Target>; 3],
    pub wants_scores: bool,
}

impl Backward<'_> {
    pub fn task(&self, task: &Task, p: &mut [f32], dp: &mut [f32], mut bias: Option<&mut Vec<f32>>) {
        let blocks = self.geometry.blocks(task);
        if blocks.is_empty() {
            self.clear_keys(task);
        }
        // Later blocks of a causal segment see more keys: from the last block on, the first writes them all.
        for (done, block) in blocks.iter().rev().enumerate() {
            let size = block.queries * block.stride();
            let (p, dp) = (&mut p[..size], &mut dp[..size]);
            self.block(block, p, dp, done > 0);
            if let (Some(bias), Some((_, reach))) = (bias.as_mut(), &self.geometry.bias) {
                for (i, ds) in dp.chunks_exact(block.stride()).enumerate() {
                    let ds = &ds[..block.keys];
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
            gemm_at(p.as_mut_ptr(), block.stride(), q, k.t(), 1.0, false, 1);
            match self.wants_scores {
                true => gemm_at(dp.as_mut_ptr(), block.stride(), dy, v.t(), 1.0, false, 1),
                false => dp.fill(0.0),
            }
            simd::run(
                #[inline(always)]
                || {
                    let rows = p.chunks_exact_mut(block.stride()).zip(dp.chunks_exact_mut(block.stride()));
                    for (i, (p, dp)) in rows.enumerate() {
                        let lse = self.lse[(block.query + i) * heads + block.head];
                        geometry.row(block, i).slopes(lse, p.as_chunks_mut().0, dp.as_chunks_mut().0);
                    }
                },
            );
            let (p, ds) = (block.scores(p), block.scores(dp));
            let [dq, dk, dv] = self.targets;
            if let Some(dq) = dq {
                gemm_at(dq.at(at_query), stride, ds, k, 1.0, false, 1);
            }
            if let Some(dk) = dk {
                gemm_at(dk.at(at_key), stride, ds.t(), q, 1.0, accumulate, 1);
            }
            if let Some(dv) = dv {
                gemm_at(dv.at(at_key), stride, p.t(), dy, 1.0, accumulate, 1);
            }
        }
    }
}
