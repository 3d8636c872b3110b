use std::sync::Arc;

use tallow_ops::{AttentionLayout, Segments, Tape, Traced, attention};

use crate::residual::Residual;
use crate::weights::Weights;
use crate::{Config, Linear, Result, Weight};

/// One attention sublayer: norm, attention.
#[derive(Clone)]
pub(crate) struct Attention {
    pub layer_norm: Weight,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub o: Linear,
    heads: usize,
    epsilon: f64,
}

/// What one sublayer attends by.
pub(crate) struct Attend<'a> {
    /// The table by distance, for self-attention.
    pub bias: Option<&'a Traced>,
    pub causal: bool,
    pub queries: &'a Arc<Segments>,
    pub keys: &'a Arc<Segments>,
    /// The probability that an activation is dropped in training.
    pub dropout: f64,
}

impl Attention {
    /// `layer`: `encoder.block.0.layer.0`; `name`: `SelfAttention` or `EncDecAttention`.
    pub fn load(weights: &Weights, config: &Config, layer: &str, name: &str) -> Result<Self> {
        let (d, inner) = (config.d_model, config.inner());
        let path = format!("{layer}.{name}");
        Ok(Self {
            layer_norm: weights.weight(format!("{layer}.layer_norm.weight"), &[d])?,
            q: weights.linear(format!("{path}.q"), inner, d)?,
            k: weights.linear(format!("{path}.k"), inner, d)?,
            v: weights.linear(format!("{path}.v"), inner, d)?,
            o: weights.linear(format!("{path}.o"), d, inner)?,
            heads: config.num_heads,
            epsilon: config.layer_norm_epsilon,
        })
    }

    pub fn norm(&self, tape: &Tape, stream: &mut Residual) -> Result<Traced> {
        stream.norm(tape, &self.layer_norm, self.epsilon)
    }

    /// Keys and values of `context` (n, d_model): (n, heads d_kv) each.
    pub fn keys_values(&self, tape: &Tape, context: &Traced) -> Result<[Traced; 2]> {
        Ok([self.k.forward(tape, context)?, self.v.forward(tape, context)?])
    }

    /// o(attention(q(normed), k, v)): what the sublayer adds to the stream.
    pub fn forward(
        &self,
        tape: &Tape,
        normed: &Traced,
        [k, v]: [&Traced; 2],
        attend: &Attend,
    ) -> Result<Traced> {
        let q = self.q.forward(tape, normed)?;
        let layout = AttentionLayout {
            heads: self.heads,
            causal: attend.causal,
            queries: attend.queries.clone(),
            keys: attend.keys.clone(),
        };
        let y = attention(tape, [&q, k, v], attend.bias, attend.dropout, &layout)?;
        drop(q);
        self.o.forward(tape, &y)
    }
}
