//! The memory that training and generating take, foreseen.

mod kept;

use self::kept::{Kept, Rows};
use crate::cache::room_for;
use crate::{Activation, Config, GenerationOptions, T5};

/// The memory that a training step's activations take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Activations {
    /// What backward needs, all of it at the end of the forward pass.
    pub kept: f64,
    /// The gradients of one feed-forward layer, the largest that come and go.
    pub passing: f64,
    /// The largest part of an encoder of which nothing is kept: it has gone when the rest comes.
    pub before: f64,
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
    /// Keys and values: of the sources, of each slot's new tokens, and of the prefixes before both.
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
        let (mut tokens, mut squares, mut rows) = (0.0, 0.0, 0.0);
        for source in sources {
            let source = size(source + self.prompt_tokens());
            tokens += source;
            squares += source * source;
            rows += 1.0;
        }
        let slots = rows * size(options.num_beams);
        let first = self.decoder.blocks.first();
        let before_source = first.and_then(|block| block.cross_attention.as_ref());
        let before_source = rows * size(before_source.map_or(0, |layer| layer.prefix_rows()));
        let (config, width) = (&self.config, size(width));
        let (inner, layers) = (size(config.inner()), size(config.num_decoder_layers));
        let own = slots * size(room_for(self.decoder.prefix_rows(), options.max_new_tokens));
        // All sequences but the most likely are weighed on the host.
        let copies = if options.is_plain() { 1.0 } else { 2.0 };
        Generation {
            encoding: self.encoding(tokens) * width,
            cache: layers * 2.0 * (before_source + tokens + own) * inner * width,
            logits: slots * size(config.vocab_size) * (width + 4.0 * copies),
            scores: size(config.num_heads) * squares * width,
        }
    }

    /// About what a training step over rows of these (source, target) lengths takes, with `width` bytes to a value. What is
    /// trained has to be traced.
    pub fn activations(&self, rows: impl IntoIterator<Item = (usize, usize)>, width: usize) -> Activations {
        let size = |x: usize| x as f64;
        let (mut source, mut target, mut batch) = (0.0, 0.0, 0.0);
        let (mut encoder_scores, mut cross_scores) = (0.0f64, 0.0f64);
        let prompt = size(self.prompt_tokens());
        for (s, t) in rows {
            let (s, t) = (size(s) + prompt, size(t));
            source += s;
            target += t;
            batch += 1.0;
            encoder_scores += s * s;
            cross_scores += t * s;
        }
        let Kept { values, encoder, decoder } = self.kept(Rows { source, target, batch });
        let (config, width) = (&self.config, size(width));
        let (d, f, heads) = (size(config.d_model), size(config.d_ff), size(config.num_heads));
        let branches = if config.activation == Activation::GatedGelu { 2.0 } else { 1.0 };
        let layer = |recorded: bool, tokens: f64| if recorded { tokens } else { 0.0 };
        let widest = layer(encoder, source).max(layer(decoder, target));
        Activations {
            kept: values * width,
            passing: widest * (2.0 * d + (branches + 1.0) * f) * width,
            before: if encoder { 0.0 } else { self.encoding(source) * width },
            scores: heads * encoder_scores.max(cross_scores) * width,
            logits: target * size(config.vocab_size) * 4.0,
        }
    }

    /// The values of the largest part of the encoder, where nothing is kept, over so many tokens.
    fn encoding(&self, tokens: f64) -> f64 {
        let Config { d_model, d_ff, activation, .. } = self.config;
        let branches = if activation == Activation::GatedGelu { 2.0 } else { 1.0 };
        tokens
            * (3.0 * d_model as f64 + ((branches + 1.0) * d_ff as f64).max(4.0 * self.config.inner() as f64))
    }
}
