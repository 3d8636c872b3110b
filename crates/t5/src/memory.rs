use crate::attention::Attention;
use crate::cache::room_for;
use crate::stack::Block;
use crate::{Activation, Checkpointing, GenerationOptions, T5};

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

/// The memory that generating for rows takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Generation {
    /// The largest part of the encoder, over all sources.
    pub encoding: f64,
    /// Keys and values: of the sources, and of each slot's new tokens.
    pub cache: f64,
    /// What the next token is chosen by.
    pub logits: f64,
    /// All scores of one attention layer of the encoder, if a device holds them at once.
    pub scores: f64,
}

impl Generation {
    /// The most at a time: of the sources' states nothing but keys and values is left when the first token comes.
    pub fn peak(&self) -> f64 {
        self.encoding.max(self.cache + self.logits)
    }
}

impl T5 {
    /// About what generating takes for sources of these lengths, with `width` bytes to a value.
    pub fn generation(
        &self,
        sources: impl IntoIterator<Item = usize>,
        options: &GenerationOptions,
        width: usize,
    ) -> Generation {
        let size = |x: usize| x as f64;
        let (mut tokens, mut squares, mut slots) = (0.0, 0.0, 0.0);
        for source in sources {
            tokens += size(source);
            squares += size(source) * size(source);
            slots += size(options.num_beams);
        }
        let (config, width) = (&self.config, size(width));
        let (d, f, inner) = (size(config.d_model), size(config.d_ff), size(config.inner()));
        let branches = if config.activation == Activation::GatedGelu { 2.0 } else { 1.0 };
        let layers = size(config.num_decoder_layers);
        let new = slots * size(room_for(options.max_new_tokens));
        // All sequences but the most likely are weighed on the host.
        let copies = if options.is_plain() { 1.0 } else { 2.0 };
        Generation {
            encoding: tokens * (3.0 * d + ((branches + 1.0) * f).max(4.0 * inner)) * width,
            cache: layers * 2.0 * (tokens + new) * inner * width,
            logits: slots * size(config.vocab_size) * (width + 4.0 * copies),
            scores: size(config.num_heads) * squares * width,
        }
    }

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
