use tallow_ops::SCRATCH_VALUES;

use crate::{Activation, Config};

impl Config {
    /// About the bytes of activations that a training step over rows of these (source, target) lengths takes at its
    /// peak, with `width` bytes to a value: what backward needs, and the largest part that comes and goes. With
    /// `all` weights trained, every product's input is kept too.
    pub fn activation_bytes(
        &self,
        rows: impl IntoIterator<Item = (usize, usize)>,
        width: usize,
        all: bool,
    ) -> f64 {
        let size = |x: usize| x as f64;
        let chunk = size(SCRATCH_VALUES);
        let (mut source, mut target) = (0.0, 0.0);
        let (mut encoder_scores, mut cross_scores) = (0.0f64, 0.0f64);
        for (s, t) in rows {
            source += size(s);
            target += size(t);
            encoder_scores += size(s) * size(s);
            cross_scores += size(t) * size(s);
        }
        let (d, inner, f) = (size(self.d_model), size(self.inner()), size(self.d_ff));
        let branches = if self.activation == Activation::GatedGelu { 2.0 } else { 1.0 };
        let kept = |values: f64| if all { values } else { 0.0 };
        // The stream and its norm, which adapted projections read; queries, keys and values.
        let attention = 2.0 * d + 3.0 * inner + kept(inner);
        let feed_forward = d + branches * f + kept(d + f);
        let encoder = size(self.num_layers) * source * (attention + feed_forward);
        let decoder = size(self.num_decoder_layers)
            * (target * (2.0 * attention - 2.0 * inner + feed_forward) + source * 2.0 * inner);
        // Scores and their slopes, or logits in f32 and their slopes, or a feed-forward's gradients.
        let heads = size(self.num_heads);
        let scores = (2.0 * (heads * encoder_scores.max(cross_scores)).min(chunk)) * size(width);
        let logits = (target * size(self.vocab_size)).min(chunk) * (4.0 + size(width));
        let gradients = source.max(target) * (2.0 * d + (branches + 1.0) * f) * size(width);
        (encoder + decoder) * size(width) + scores.max(logits).max(gradients)
    }
}
