//! What a forward pass keeps for backward: it is walked through without computing anything.

use tallow_ops::Traced;

use crate::attention::Attention;
use crate::feed_forward::{FeedForward, Input};
use crate::stack::{Block, Stack};
use crate::{Checkpointing, Keeps, Linear, OutputAdapter, T5, Weight};

/// The tokens of a batch.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Of all sources, virtual ones included.
    pub source: f64,
    pub target: f64,
    /// The number of rows.
    pub batch: f64,
}

/// What is kept of a forward pass.
pub(super) struct Kept {
    /// In all.
    pub values: f64,
    /// Whether backward goes through the encoder.
    pub encoder: bool,
    /// And through the decoder.
    pub decoder: bool,
}

/// A value of the forward pass.
#[derive(Clone, Copy)]
struct Value {
    tokens: f64,
    /// For each token.
    width: f64,
    /// Whether something below it is trained.
    traced: bool,
    /// Whether keeping it takes nothing: it can be made again, or is kept already.
    free: bool,
}

impl Value {
    fn new(tokens: f64, width: usize, traced: bool) -> Self {
        Self { tokens, width: width as f64, traced, free: false }
    }
}

/// What has been kept so far.
#[derive(Default)]
struct Walk {
    values: f64,
}

impl T5 {
    /// Walks through the forward pass over such rows.
    pub(super) fn kept(&self, rows: Rows) -> Kept {
        let mut encoder = Value::new(rows.source, self.config.d_model, self.prompt.is_some());
        let (mut values, encoded) = self.kept_of(&self.encoder, &mut encoder, None, rows);
        let mut context = encoded;
        let mut decoder = Value::new(rows.target, self.config.d_model, false);
        let (of_decoder, _) = self.kept_of(&self.decoder, &mut decoder, Some(&mut context), rows);
        values += of_decoder;
        // The encoder's output, whether it is kept or not, is there until the decoder has done.
        if !encoded.traced && !context.free {
            values += context.tokens * context.width;
        }
        Kept { values, encoder: encoded.traced, decoder: decoder.traced }
    }

    /// What a stack keeps, and its output.
    fn kept_of(
        &self,
        stack: &Stack,
        stream: &mut Value,
        mut context: Option<&mut Value>,
        rows: Rows,
    ) -> (f64, Value) {
        let adapter = stack.embedding.as_ref();
        stream.traced |= self.trains_embedding() || adapter.is_some();
        let mut kept = stream.tokens * adapter.map_or(0, |adapter| adapter.kept()) as f64;
        let (mut inputs, mut largest) = (0.0, 0.0f64);
        for block in &stack.blocks {
            let mut walk = Walk::default();
            let input = stream.tokens * stream.width;
            walk.block(block, stream, context.as_deref_mut(), rows, stack.biases());
            kept += walk.values;
            inputs += if stream.traced { input } else { 0.0 };
            largest = largest.max(walk.values);
        }
        if self.training.checkpointing == Checkpointing::Layer {
            kept = inputs + largest;
        }
        let mut last = Walk::default();
        let output = last.norm(stream, stack.final_norm_weight());
        (kept + last.values, output)
    }
}

impl Walk {
    fn keep(&mut self, value: &mut Value) {
        if !value.free {
            self.values += value.tokens * value.width;
            value.free = true;
        }
    }

    fn block(
        &mut self,
        block: &Block,
        stream: &mut Value,
        context: Option<&mut Value>,
        rows: Rows,
        bias: &Traced,
    ) {
        let layer = &block.self_attention;
        let mut normed = self.norm(stream, &layer.layer_norm);
        let output = self.attention(layer, &mut normed, None, rows, bias.is_traced());
        self.add(stream, output, layer.after.as_deref());
        if let Some((layer, context)) = block.cross_attention.as_ref().zip(context) {
            let mut normed = self.norm(stream, &layer.layer_norm);
            let output = self.attention(layer, &mut normed, Some(context), rows, false);
            self.add(stream, output, layer.after.as_deref());
        }
        let layer = &block.feed_forward;
        let mut normed = self.norm(stream, &layer.layer_norm);
        let output = self.feed_forward(layer, &mut normed);
        self.add(stream, output, layer.after.as_deref());
    }

    fn norm(&mut self, stream: &mut Value, weight: &Weight) -> Value {
        let traced = stream.traced || weight.value.is_traced();
        if traced {
            self.keep(stream);
        }
        Value { traced, free: traced, ..*stream }
    }

    fn linear(&mut self, x: &mut Value, layer: &Linear) -> Value {
        let Keeps { input, output, values } =
            layer.adapter.as_ref().map_or_else(Keeps::default, |adapter| adapter.keeps());
        if input || layer.weight.value.is_traced() {
            self.keep(x);
        }
        self.values += x.tokens * values as f64;
        let mut y = Value::new(x.tokens, layer.shape().0, x.traced || layer.is_trained());
        if output {
            self.keep(&mut y);
        }
        y
    }

    /// `context` is what is attended to, where that is not x itself.
    fn attention(
        &mut self,
        layer: &Attention,
        x: &mut Value,
        context: Option<&mut Value>,
        rows: Rows,
        bias: bool,
    ) -> Value {
        let mut q = self.linear(x, &layer.q);
        let context = context.unwrap_or(x);
        let mut keys = [&layer.k, &layer.v].map(|layer| self.linear(context, layer));
        if let Some(prefix) = &layer.prefix {
            let more = rows.batch * layer.prefix_rows() as f64;
            for (key, prefix) in keys.iter_mut().zip(prefix) {
                let traced = key.traced || prefix.is_traced();
                *key = Value { tokens: key.tokens + more, traced, free: false, ..*key };
            }
        }
        let [k, v] = &mut keys;
        let traced = bias || q.traced || k.traced || v.traced;
        if traced {
            [&mut q, k, v].into_iter().for_each(|value| self.keep(value));
        }
        let mut y = Value { traced, free: false, ..q };
        self.linear(&mut y, &layer.o)
    }

    fn feed_forward(&mut self, layer: &FeedForward, x: &mut Value) -> Value {
        let mut hidden = match &layer.input {
            Input::Relu { wi } => {
                let inner = self.linear(x, wi);
                let mut hidden = Value { free: false, ..inner };
                if hidden.traced {
                    self.keep(&mut hidden);
                }
                hidden
            }
            Input::GatedGelu { wi_0, wi_1 } => {
                let mut branches = [wi_0, wi_1].map(|layer| self.linear(x, layer));
                let traced = branches.iter().any(|branch| branch.traced);
                if traced {
                    branches.iter_mut().for_each(|branch| self.keep(branch));
                }
                Value { traced, free: traced, ..branches[0] }
            }
        };
        self.linear(&mut hidden, &layer.wo)
    }

    fn add(&mut self, stream: &mut Value, output: Value, after: Option<&dyn OutputAdapter>) {
        self.values += stream.tokens * after.map_or(0, OutputAdapter::kept) as f64;
        let traced = stream.traced || output.traced || after.is_some();
        *stream = Value { traced, free: false, ..*stream };
    }
}
