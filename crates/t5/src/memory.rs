use crate::attention::Attention;
use crate::stack::Block;
use crate::{Activation, Checkpointing, T5};

/// The memory that a training step's activations take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Activations {
    /// What backward needs, all of it at the end of the forward pass.
    pub kept: f64,
    /// The gradients of one feed-forward layer, the largest that come and go.
    pub passing: f64,
    /// All scores of one attention layer, if a device holds them at once.
    pub scores: f64,
    /// All logits, in f32.
    pub logits: f64,
}

impl T5 {
    /// About what a training step over rows of these (source, target) lengths takes, with `width` bytes to a value. `all`
    /// is for a model of which every weight will be trained, where they are not traced yet.
    pub fn activations(
        &self,
        rows: impl IntoIterator<Item = (usize, usize)>,
        width: usize,
        all: bool,
    ) -> Activations {
        let size = |x: usize| x as f64;
        let (mut source, mut target) = (0.0, 0.0);
        let (mut encoder_scores, mut cross_scores) = (0.0f64, 0.0f64);
        for (s, t) in rows {
            source += size(s);
            target += size(t);
            encoder_scores += size(s) * size(s);
            cross_scores += size(t) * size(s);
        }
        let (config, width) = (&self.config, size(width));
        let (d, f, heads) = (size(config.d_model), size(config.d_ff), size(config.num_heads));
        let branches = if config.activation == Activation::GatedGelu { 2.0 } else { 1.0 };
        let layer = |block: &Block, tokens: f64| {
            let own = values(&block.self_attention, d, size(config.inner()), all).all();
            let cross = block.cross_attention.as_ref().map(|attention| {
                let Kept { of_queries, of_keys } = values(attention, d, size(config.inner()), all);
                tokens * of_queries + source * of_keys
            });
            tokens * (own + d + branches * f) + cross.unwrap_or_default()
        };
        let encoder = self.encoder.blocks.iter().map(|block| (layer(block, source), source * d));
        let decoder = self.decoder.blocks.iter().map(|block| (layer(block, target), target * d));
        let kept = match self.training.checkpointing {
            Checkpointing::None => encoder.chain(decoder).map(|(layer, _)| layer).sum::<f64>(),
            Checkpointing::Layer => {
                let (mut inputs, mut largest) = (0.0, 0.0f64);
                for (layer, input) in encoder.chain(decoder) {
                    inputs += input;
                    largest = largest.max(layer);
                }
                inputs + largest
            }
        };
        Activations {
            // The encoder's output beside the layers.
            kept: (kept + source * d) * width,
            passing: source.max(target) * (2.0 * d + (branches + 1.0) * f) * width,
            scores: heads * encoder_scores.max(cross_scores) * width,
            logits: target * size(config.vocab_size) * 4.0,
        }
    }
}

/// Values that an attention layer keeps for each token that asks, and for each that is asked.
struct Kept {
    of_queries: f64,
    of_keys: f64,
}

impl Kept {
    /// Where tokens ask one another.
    fn all(&self) -> f64 {
        self.of_queries + self.of_keys
    }
}

fn values(attention: &Attention, d: f64, inner: f64, all: bool) -> Kept {
    // The stream, q, k and v; the output of the heads only where the product behind it is trained.
    let output = if all || attention.o.is_trained() { inner } else { 0.0 };
    Kept { of_queries: d + inner + output, of_keys: 2.0 * inner }
}
