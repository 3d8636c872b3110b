//! Multi-head attention over segments.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(any(feature = "cuda", test))]
mod units;

#[cfg(feature = "cuda")]
pub(crate) use cuda::Plans;

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use crate::tape::Target;
use crate::{Error, Mask, Result, Segments, Tape, Traced, trace};

/// Who attends to whom.
#[derive(Clone, Debug)]
pub struct AttentionLayout {
    /// The number of heads; a row of q, k or v is (heads, width).
    pub heads: usize,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
    /// Where each row of the batch has its queries.
    pub queries: Arc<Segments>,
    /// Where each row of the batch has its keys and values.
    pub keys: Arc<Segments>,
}

impl AttentionLayout {
    /// (queries, keys) of each row of the batch.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + '_ {
        self.queries.ranges().iter().cloned().zip(self.keys.ranges().iter().cloned())
    }

    /// The position of a segment's first query among its keys: queries are the last ones.
    pub(crate) fn first_position(&self, queries: &Range<usize>, keys: &Range<usize>) -> usize {
        keys.len().saturating_sub(queries.len())
    }

    /// `shared` says whether rows may share keys: only where these receive no gradient.
    fn check(&self, [q, k, v]: [&Tensor; 3], bias: Option<&Tensor>, shared: bool) -> Result<()> {
        let fail = |what: String| Err(Error::shape("attention", what));
        let ((n_q, inner), (n_k, _)) = (q.dims2()?, k.dims2()?);
        if self.heads == 0 || inner % self.heads != 0 || k.dim(1)? != inner || v.dims() != k.dims() {
            return fail(format!(
                "q {:?}, k {:?}, v {:?}, {} heads",
                q.dims(),
                k.dims(),
                v.dims(),
                self.heads
            ));
        }
        if self.queries.len() != self.keys.len() {
            return fail(format!("{} rows of queries, {} of keys", self.queries.len(), self.keys.len()));
        }
        if self.queries.end() > n_q || self.keys.end() > n_k {
            return fail(format!("segments end at {} and {}", self.queries.end(), self.keys.end()));
        }
        if !self.queries.disjoint() || !(shared || self.keys.disjoint()) {
            return fail("rows overlap".into());
        }
        if self.rows().any(|(queries, keys)| keys.is_empty() && !queries.is_empty()) {
            return fail("a row has queries and no keys".into());
        }
        if self.causal && self.rows().any(|(queries, keys)| keys.len() < queries.len()) {
            return fail("a causal row has more queries than keys".into());
        }
        let Some(bias) = bias else { return Ok(()) };
        let longest = self.keys.longest().max(self.queries.longest());
        let (heads, distances) = bias.dims2()?;
        if heads != self.heads || distances % 2 == 0 || reach(bias)? < longest {
            return fail(format!("bias {:?} for {} heads, rows of {longest}", bias.dims(), self.heads));
        }
        Ok(())
    }
}

/// The longest row that a bias table (heads, 2 reach - 1) serves.
pub(crate) fn reach(bias: &Tensor) -> Result<usize> {
    Ok(bias.dim(1)?.div_ceil(2))
}

/// The gradients of attention: each only if it was wanted.
#[derive(Default)]
pub struct AttentionGradients {
    /// Of q, k and v.
    pub qkv: [Option<Tensor>; 3],
    /// Of the bias table, f32.
    pub bias: Option<Tensor>,
}

/// What forward leaves for backward.
pub struct AttentionSaved<'a> {
    /// q, k and v.
    pub qkv: [&'a Tensor; 3],
    /// The bias table (heads, 2 reach - 1), f32.
    pub bias: Option<&'a Tensor>,
    /// What is dropped of the probabilities.
    pub mask: Option<Mask>,
    /// The log-sum-exp of each query's scores, (n_q, heads), f32.
    pub log_sum_exp: &'a Tensor,
}

/// Raw attention and its gradients, of tensors and a layout that [`attention`] has checked.
pub trait AttentionKernel {
    /// y (n_q, heads width), and the log-sum-exp of each query's scores (n_q, heads), f32.
    ///
    /// # Errors
    /// If the tensors cannot be read.
    fn attention(
        &self,
        layout: &AttentionLayout,
        qkv: [&Tensor; 3],
        bias: Option<&Tensor>,
        mask: Option<Mask>,
    ) -> Result<(Tensor, Tensor)>;

    /// The gradients that are wanted, of q, k, v and the bias table.
    ///
    /// # Errors
    /// If the tensors cannot be read.
    fn attention_backward(
        &self,
        layout: &AttentionLayout,
        saved: AttentionSaved,
        dy: &Tensor,
        wanted: [bool; 4],
    ) -> Result<AttentionGradients>;
}

/// y = drop(softmax(q k^T + bias)) v by segment and head: q (n_q, heads width), k, v (n_k, heads width) ->
/// (n_q, heads width). T5 has no 1/sqrt(width).
///
/// `bias` is an f32 table (heads, 2 reach - 1) by distance, key minus query plus reach - 1; query i of a segment
/// stands at n_k - n_q + i. `dropout` is the probability that a probability is dropped in training. No
/// (n_q, n_k) matrix is kept: backward computes the probabilities again from a log-sum-exp a row and head.
/// Rows of q outside every segment get zeros.
///
/// # Errors
/// If the shapes do not go together.
pub fn attention(
    tape: &Tape,
    [q, k, v]: [&Traced; 3],
    bias: Option<&Traced>,
    dropout: f64,
    layout: &AttentionLayout,
) -> Result<Traced> {
    let _span = trace::forward("attention");
    let values = [q, k, v].map(Traced::value);
    layout.check(values, bias.map(Traced::value), !tape.records(&[k, v]))?;
    let mask = tape.mask(dropout);
    let (y, log_sum_exp) = tape.kernels().attention(layout, values, bias.map(Traced::value), mask)?;
    let mut inputs = vec![q, k, v];
    inputs.extend(bias);
    let (qkv, bias, layout) = ([q, k, v].map(Clone::clone), bias.cloned(), layout.clone());
    Ok(tape.record("attention", y, &inputs, move |dy, gradients| {
        let targets = qkv.each_ref().map(Traced::target);
        let bias_target = bias.as_ref().map(Traced::target);
        let [q, k, v] = targets.each_ref().map(Target::is_traced);
        let wanted = [q, k, v, bias_target.as_ref().is_some_and(Target::is_traced)];
        let saved = AttentionSaved {
            qkv: qkv.each_ref().map(Traced::value),
            bias: bias.as_ref().map(Traced::value),
            mask,
            log_sum_exp: &log_sum_exp,
        };
        let found = gradients.kernels().attention_backward(&layout, saved, &dy, wanted)?;
        for (target, gradient) in targets.iter().zip(found.qkv) {
            if let Some(gradient) = gradient {
                gradients.give(target, gradient)?;
            }
        }
        match (bias_target, found.bias) {
            (Some(target), Some(gradient)) => gradients.give(&target, gradient),
            _ => Ok(()),
        }
    }))
}
