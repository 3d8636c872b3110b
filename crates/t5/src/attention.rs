use std::sync::Arc;

use tallow_ops::{AttentionLayout, Segments, Tape, Traced, attention, prepend_rows};

use crate::residual::Residual;
use crate::weights::Weights;
use crate::{Config, Linear, OutputAdapter, Prefix, Result, Stream, Weight};

/// One attention sublayer: norm, attention.
#[derive(Clone)]
pub(crate) struct Attention {
    /// `encoder.block.0.layer.0`.
    pub layer: String,
    /// `SelfAttention` or `EncDecAttention`.
    pub name: &'static str,
    pub layer_norm: Weight,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub o: Linear,
    pub prefix: Option<Prefix>,
    pub after: Option<Arc<dyn OutputAdapter>>,
    heads: usize,
    epsilon: f64,
}

/// What is attended to.
pub(crate) struct Context {
    /// (n, heads d_kv).
    pub keys: Traced,
    pub values: Traced,
    /// Where each row has its keys.
    pub segments: Arc<Segments>,
}

/// What one sublayer attends by.
pub(crate) struct Attend<'a> {
    /// The table by distance, for self-attention.
    pub bias: Option<&'a Traced>,
    pub causal: bool,
    pub queries: &'a Stream,
    /// The probability that an activation is dropped in training.
    pub dropout: f64,
}

impl Attention {
    /// `layer`: `encoder.block.0.layer.0`; `name`: `SelfAttention` or `EncDecAttention`.
    pub fn load(weights: &Weights, config: &Config, layer: String, name: &'static str) -> Result<Self> {
        let (d, inner) = (config.d_model, config.inner());
        let path = format!("{layer}.{name}");
        Ok(Self {
            layer_norm: weights.weight(format!("{layer}.layer_norm.weight"), &[d])?,
            layer,
            name,
            q: weights.linear(format!("{path}.q"), inner, d)?,
            k: weights.linear(format!("{path}.k"), inner, d)?,
            v: weights.linear(format!("{path}.v"), inner, d)?,
            o: weights.linear(format!("{path}.o"), d, inner)?,
            prefix: None,
            after: None,
            heads: config.num_heads,
            epsilon: config.layer_norm_epsilon,
        })
    }

    pub fn norm(&self, tape: &Tape, stream: &mut Residual) -> Result<Traced> {
        stream.norm(tape, &self.layer_norm, self.epsilon)
    }

    /// Keys and values of x (n, d_model): (n, heads d_kv) each.
    pub fn keys_values(&self, tape: &Tape, x: &Traced, at: &Stream) -> Result<[Traced; 2]> {
        Ok([self.k.forward(tape, x, at)?, self.v.forward(tape, x, at)?])
    }

    /// What the rows of x (n, d_model) are to those who attend to them: behind the prefix, if there is one.
    pub fn context(&self, tape: &Tape, x: &Traced, at: &Stream) -> Result<Context> {
        let [keys, values] = self.keys_values(tape, x, at)?;
        let Some([prefix_keys, prefix_values]) = &self.prefix else {
            return Ok(Context { keys, values, segments: at.segments.clone() });
        };
        Ok(Context {
            keys: prepend_rows(tape, prefix_keys, &keys, &at.segments)?,
            values: prepend_rows(tape, prefix_values, &values, &at.segments)?,
            segments: at.longer_by(self.prefix_rows()).segments,
        })
    }

    /// The keys that each row finds before its own.
    pub fn prefix_rows(&self) -> usize {
        self.prefix.as_ref().map_or(0, |[keys, _]| keys.value().dims()[0])
    }

    /// o(attention(q(normed), k, v)): what the sublayer adds to the stream.
    pub fn forward(
        &self,
        tape: &Tape,
        normed: &Traced,
        context: &Context,
        attend: &Attend,
    ) -> Result<Traced> {
        let q = self.q.forward(tape, normed, attend.queries)?;
        let layout = AttentionLayout {
            heads: self.heads,
            causal: attend.causal,
            queries: attend.queries.segments.clone(),
            keys: context.segments.clone(),
        };
        let qkv = [&q, &context.keys, &context.values];
        let y = attention(tape, qkv, attend.bias, attend.dropout, &layout)?;
        drop(q);
        self.o.forward(tape, &y, attend.queries)
    }
}
