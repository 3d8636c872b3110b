use std::sync::Arc;

use tallow_ops::{Tape, dropout, gated_gelu, relu};

use crate::residual::Residual;
use crate::weights::Weights;
use crate::{Activation, Config, Linear, OutputAdapter, Result, Stream, Weight};

/// What comes before the activation.
#[derive(Clone)]
pub(crate) enum Input {
    Relu { wi: Linear },
    GatedGelu { wi_0: Linear, wi_1: Linear },
}

/// One feed-forward sublayer: norm, two or three products.
#[derive(Clone)]
pub(crate) struct FeedForward {
    /// `encoder.block.0.layer.1`.
    pub layer: String,
    pub after: Option<Arc<dyn OutputAdapter>>,
    pub layer_norm: Weight,
    pub input: Input,
    pub wo: Linear,
    epsilon: f64,
}

impl FeedForward {
    /// `layer`: `encoder.block.0.layer.1`.
    pub fn load(weights: &Weights, config: &Config, layer: String) -> Result<Self> {
        let (d, ff) = (config.d_model, config.d_ff);
        let linear =
            |name: &str, out, input| weights.linear(format!("{layer}.DenseReluDense.{name}"), out, input);
        Ok(Self {
            layer_norm: weights.weight(format!("{layer}.layer_norm.weight"), &[d])?,
            input: match config.activation {
                Activation::Relu => Input::Relu { wi: linear("wi", ff, d)? },
                Activation::GatedGelu => {
                    Input::GatedGelu { wi_0: linear("wi_0", ff, d)?, wi_1: linear("wi_1", ff, d)? }
                }
            },
            wo: linear("wo", d, ff)?,
            layer,
            after: None,
            epsilon: config.layer_norm_epsilon,
        })
    }

    /// Adds the sublayer's output to the stream.
    pub fn forward(&self, tape: &Tape, stream: &mut Residual, at: &Stream, p: f64) -> Result<()> {
        let normed = stream.norm(tape, &self.layer_norm, self.epsilon)?;
        let hidden = match &self.input {
            Input::Relu { wi } => relu(tape, &wi.forward(tape, &normed, at)?)?,
            Input::GatedGelu { wi_0, wi_1 } => {
                let (gate, up) = (wi_0.forward(tape, &normed, at)?, wi_1.forward(tape, &normed, at)?);
                drop(normed);
                gated_gelu(tape, &gate, &up)?
            }
        };
        let hidden = dropout(tape, &hidden, p)?;
        stream.add(tape, self.wo.forward(tape, &hidden, at)?, self.after.as_deref())
    }

    /// The linear layers, and the norm.
    pub fn parts_mut(&mut self) -> (Vec<&mut Linear>, &mut Weight) {
        let mut linears = match &mut self.input {
            Input::Relu { wi } => vec![wi],
            Input::GatedGelu { wi_0, wi_1 } => vec![wi_0, wi_1],
        };
        linears.push(&mut self.wo);
        (linears, &mut self.layer_norm)
    }
}
