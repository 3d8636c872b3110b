use std::ops::Range;

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;

use super::{AttentionGradients, AttentionKernel, AttentionLayout, AttentionSaved, reach};
use crate::composed::{Composed, wide};
use crate::{Mask, Result};

/// One row of the batch.
struct Segment<'a> {
    layout: &'a AttentionLayout,
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Segment<'_> {
    /// Rows `range` of x (n, heads width) as (heads, rows, width), f32.
    fn heads(&self, x: &Tensor, range: &Range<usize>) -> Result<Tensor> {
        let (heads, inner) = (self.layout.heads, x.dim(1)?);
        let rows = x.narrow(0, range.start, range.len())?;
        wide(&rows.reshape((range.len(), heads, inner / heads))?.transpose(0, 1)?.contiguous()?)
    }

    fn position(&self, query: usize) -> usize {
        self.layout.first_position(&self.queries, &self.keys) + query
    }

    /// For each (query, key), key minus query plus reach - 1.
    fn distances(&self, bias: &Tensor) -> Result<Tensor> {
        let reach = reach(bias)?;
        let index: Vec<u32> = (0..self.queries.len())
            .flat_map(|query| {
                let position = self.position(query);
                (0..self.keys.len()).map(move |key| (key + reach - 1 - position) as u32)
            })
            .collect();
        Ok(Tensor::new(index, bias.device())?)
    }

    /// q k^T + bias, (heads, queries, keys), negative infinity where a query does not look.
    fn scores(&self, q: &Tensor, k: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let mut scores = q.matmul(&k.transpose(1, 2)?.contiguous()?)?;
        if let Some(bias) = bias {
            let bias = bias.index_select(&self.distances(bias)?, 1)?;
            scores = (scores + bias.reshape((self.layout.heads, self.queries.len(), self.keys.len()))?)?;
        }
        if self.layout.causal {
            let hidden: Vec<f32> = (0..self.queries.len())
                .flat_map(|query| {
                    let position = self.position(query);
                    (0..self.keys.len()).map(move |key| if key > position { f32::NEG_INFINITY } else { 0.0 })
                })
                .collect();
            let shape = (1, self.queries.len(), self.keys.len());
            scores = scores.broadcast_add(&Tensor::from_vec(hidden, shape, q.device())?)?;
        }
        Ok(scores)
    }

    /// The mask's factors, (heads, queries, keys); `rows` is the number of queries in the whole batch.
    fn factors(&self, mask: Mask, rows: usize, like: &Tensor) -> Result<Tensor> {
        let lines: Vec<Mask> = (0..self.layout.heads)
            .flat_map(|head| self.queries.clone().map(move |query| mask.row((head * rows + query) as u32)))
            .collect();
        let keys = self.keys.len() as u32;
        let factors: Vec<f32> =
            lines.into_par_iter().flat_map_iter(|line| (0..keys).map(move |key| line.factor(key))).collect();
        Ok(Tensor::from_vec(factors, like.shape(), like.device())?)
    }
}

/// (heads, rows, width) to (rows, heads width).
fn join(x: &Tensor) -> Result<Tensor> {
    let (heads, rows, width) = x.dims3()?;
    Ok(x.transpose(0, 1)?.contiguous()?.reshape((rows, heads * width))?)
}

fn segments(layout: &AttentionLayout) -> impl Iterator<Item = Segment<'_>> {
    layout.rows().map(move |(queries, keys)| Segment { layout, queries, keys })
}

impl AttentionKernel for Composed {
    fn attention(
        &self,
        layout: &AttentionLayout,
        [q, k, v]: [&Tensor; 3],
        bias: Option<&Tensor>,
        mask: Option<Mask>,
    ) -> Result<(Tensor, Tensor)> {
        let y = q.zeros_like()?;
        let lse = Tensor::zeros((q.dim(0)?, layout.heads), DType::F32, q.device())?;
        for segment in segments(layout).filter(|segment| !segment.queries.is_empty()) {
            let q_heads = segment.heads(q, &segment.queries)?;
            let scores = segment.scores(&q_heads, &segment.heads(k, &segment.keys)?, bias)?;
            let max = scores.max_keepdim(D::Minus1)?;
            let exp = scores.broadcast_sub(&max)?.exp()?;
            let sum = exp.sum_keepdim(D::Minus1)?;
            let mut p = exp.broadcast_div(&sum)?;
            if let Some(mask) = mask {
                p = (&p * segment.factors(mask, q.dim(0)?, &p)?)?;
            }
            let rows = join(&p.matmul(&segment.heads(v, &segment.keys)?)?)?;
            y.slice_set(&rows.to_dtype(y.dtype())?, 0, segment.queries.start)?;
            lse.slice_set(&join(&(max + sum.log()?)?)?, 0, segment.queries.start)?;
        }
        Ok((y, lse))
    }

    fn attention_backward(
        &self,
        layout: &AttentionLayout,
        saved: AttentionSaved,
        dy: &Tensor,
        wanted: [bool; 4],
    ) -> Result<AttentionGradients> {
        let [q, k, v] = saved.qkv;
        let rows = q.dim(0)?;
        let (dq, dk, dv) = (q.zeros_like()?, k.zeros_like()?, v.zeros_like()?);
        let put = |to: &Tensor, heads: Tensor, start: usize| -> Result<()> {
            Ok(to.slice_set(&join(&heads)?.to_dtype(to.dtype())?, 0, start)?)
        };
        let mut dbias = saved.bias.map(Tensor::zeros_like).transpose()?;
        for segment in segments(layout).filter(|segment| !segment.queries.is_empty()) {
            let [q, dy] = [q, dy].map(|x| segment.heads(x, &segment.queries));
            let [k, v] = [k, v].map(|x| segment.heads(x, &segment.keys));
            let (q, k, v, dy) = (q?, k?, v?, dy?);
            let lse = segment.heads(saved.log_sum_exp, &segment.queries)?;
            let p = segment.scores(&q, &k, saved.bias)?.broadcast_sub(&lse)?.exp()?;
            let mut dp = dy.matmul(&v.transpose(1, 2)?.contiguous()?)?;
            let mut dropped = p.clone();
            if let Some(mask) = saved.mask {
                let factors = segment.factors(mask, rows, &p)?;
                dp = (dp * &factors)?;
                dropped = (dropped * factors)?;
            }
            let mean = (&p * &dp)?.sum_keepdim(D::Minus1)?;
            let ds = (p * dp.broadcast_sub(&mean)?)?;
            put(&dq, ds.matmul(&k)?, segment.queries.start)?;
            let ds_t = ds.transpose(1, 2)?.contiguous()?;
            put(&dk, ds_t.matmul(&q)?, segment.keys.start)?;
            let p_t = dropped.transpose(1, 2)?.contiguous()?;
            put(&dv, p_t.matmul(&dy)?, segment.keys.start)?;
            if let (Some(bias), true) = (dbias.as_mut(), wanted[3]) {
                let flat = ds.reshape((layout.heads, ()))?;
                *bias = bias.index_add(&segment.distances(bias)?, &flat, 1)?;
            }
        }
        let [wants_q, wants_k, wants_v, wants_bias] = wanted;
        let qkv = [wants_q.then_some(dq), wants_k.then_some(dk), wants_v.then_some(dv)];
        Ok(AttentionGradients { qkv, bias: dbias.filter(|_| wants_bias) })
    }
}
