use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Tape, Traced, dropout, embedding, position_bias};

use crate::attention::{Attend, Attention};
use crate::feed_forward::FeedForward;
use crate::position::Buckets;
use crate::residual::Residual;
use crate::weights::Weights;
use crate::{
    Checkpointing, Config, EmbeddingAdapter, Encoded, Linear, OutputPlace, PrefixPlace, Result, Stream,
    Sublayer, Training, Weight,
};

/// One block: self-attention, cross-attention in the decoder, feed-forward.
#[derive(Clone)]
pub(crate) struct Block {
    pub self_attention: Attention,
    pub cross_attention: Option<Attention>,
    pub feed_forward: FeedForward,
}

/// What is the same for all blocks of a forward pass.
#[derive(Clone)]
struct Pass {
    causal: bool,
    at: Stream,
    /// Of the encoder's output, for the decoder.
    context: Option<Stream>,
    /// The probability that an activation is dropped in training.
    dropout: f64,
}

/// The encoder or the decoder.
#[derive(Clone)]
pub(crate) struct Stack {
    pub blocks: Vec<Block>,
    pub embedding: Option<Arc<dyn EmbeddingAdapter>>,
    /// Block 0 has the table of all blocks.
    relative_attention_bias: Weight,
    final_layer_norm: Weight,
    buckets: Buckets,
    epsilon: f64,
}

impl Stack {
    pub fn load(weights: &Weights, config: &Config, name: &str) -> Result<Self> {
        let decoder = name == "decoder";
        let blocks = if decoder { config.num_decoder_layers } else { config.num_layers };
        let block = |i: usize| {
            let layer = format!("{name}.block.{i}.layer");
            let cross = || Attention::load(weights, config, format!("{layer}.1"), "EncDecAttention");
            let last = format!("{layer}.{}", if decoder { 2 } else { 1 });
            Ok(Block {
                self_attention: Attention::load(weights, config, format!("{layer}.0"), "SelfAttention")?,
                cross_attention: decoder.then(cross).transpose()?,
                feed_forward: FeedForward::load(weights, config, last)?,
            })
        };
        Ok(Self {
            blocks: (0..blocks).map(block).collect::<Result<_>>()?,
            embedding: None,
            relative_attention_bias: weights.weight(
                format!("{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
                &[config.relative_attention_num_buckets, config.num_heads],
            )?,
            final_layer_norm: weights.weight(format!("{name}.final_layer_norm.weight"), &[config.d_model])?,
            buckets: Buckets {
                bidirectional: !decoder,
                count: config.relative_attention_num_buckets,
                max_distance: config.relative_attention_max_distance,
            },
            epsilon: config.layer_norm_epsilon,
        })
    }

    /// The bias by distance for rows of up to `reach` tokens, (heads, 2 reach - 1).
    pub fn bias(&self, tape: &Tape, reach: usize) -> Result<Traced> {
        let index = self.buckets.index(reach, tape.kernels().device())?;
        Ok(position_bias(tape, &self.relative_attention_bias.value, &index)?)
    }

    /// The table of the bias by distance.
    pub fn biases(&self) -> &Traced {
        &self.relative_attention_bias.value
    }

    pub fn final_norm_weight(&self) -> &Weight {
        &self.final_layer_norm
    }

    /// Rows of the table: ids (n), u32 -> (n, d_model).
    pub fn embed(&self, tape: &Tape, table: &Traced, ids: &Tensor) -> Result<Traced> {
        match &self.embedding {
            None => Ok(embedding(tape, table, ids)?),
            Some(adapter) => adapter.forward(tape, table, ids),
        }
    }

    /// The keys that each row finds before its own where it attends to itself: the same in every block.
    pub fn prefix_rows(&self) -> usize {
        self.blocks.first().map_or(0, |block| block.self_attention.prefix_rows())
    }

    /// The stack's hidden states: x (n, d_model), embedded, the rows of `at` -> (n, d_model). `context` is the encoder's
    /// output, for the decoder.
    pub fn forward(
        &self,
        tape: &Tape,
        x: &Traced,
        at: &Stream,
        context: Option<&Encoded>,
        training: Training,
    ) -> Result<Traced> {
        let p = training.dropout;
        let bias = self.bias(tape, at.segments.longest() + self.prefix_rows())?;
        let mut stream = Residual::new(dropout(tape, x, p)?, p);
        let pass = Pass {
            causal: !self.buckets.bidirectional,
            at: at.clone(),
            context: context.map(|context| context.at.clone()),
            dropout: p,
        };
        let context = context.map(|context| &context.states);
        for block in &self.blocks {
            match training.checkpointing {
                Checkpointing::None => block.forward(tape, &mut stream, &bias, context, &pass)?,
                Checkpointing::Layer => {
                    let inputs: Vec<Traced> =
                        [stream.sum(tape)?, bias.clone()].into_iter().chain(context.cloned()).collect();
                    let (block, pass) = (block.clone(), pass.clone());
                    let x = tape.checkpoint(&inputs.iter().collect::<Vec<_>>(), move |tape, inputs| {
                        let mut stream = Residual::new(inputs[0].clone(), pass.dropout);
                        block.forward(tape, &mut stream, &inputs[1], inputs.get(2), &pass)?;
                        stream.sum(tape)
                    })?;
                    stream = Residual::new(x, p);
                }
            }
        }
        Ok(dropout(tape, &self.final_norm(tape, &mut stream)?, p)?)
    }

    pub fn final_norm(&self, tape: &Tape, stream: &mut Residual) -> Result<Traced> {
        stream.norm(tape, &self.final_layer_norm, self.epsilon)
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.blocks.iter_mut().flat_map(|block| block.parts_mut().0).collect()
    }

    pub fn outputs_mut(&mut self) -> Vec<OutputPlace<'_>> {
        self.blocks.iter_mut().flat_map(Block::outputs_mut).collect()
    }

    pub fn prefixes_mut(&mut self) -> Vec<PrefixPlace<'_>> {
        let attentions = self.blocks.iter_mut().flat_map(Block::attentions_mut);
        let places = attentions.map(|(sublayer, attention)| {
            let name = format!("{}.{}", attention.layer, attention.name);
            PrefixPlace { name, sublayer, prefix: &mut attention.prefix }
        });
        places.collect()
    }

    pub fn weights_mut(&mut self) -> Vec<&mut Weight> {
        let mut weights = vec![&mut self.relative_attention_bias, &mut self.final_layer_norm];
        for block in &mut self.blocks {
            let (linears, norms) = block.parts_mut();
            weights.extend(linears.into_iter().map(|linear| &mut linear.weight));
            weights.extend(norms);
        }
        weights
    }
}

impl Block {
    /// Adds the outputs of the sublayers to the stream. `context` is the encoder's output, for the decoder.
    fn forward(
        &self,
        tape: &Tape,
        stream: &mut Residual,
        bias: &Traced,
        context: Option<&Traced>,
        pass: &Pass,
    ) -> Result<()> {
        let (at, p) = (&pass.at, pass.dropout);
        let layer = &self.self_attention;
        let attend = Attend { bias: Some(bias), causal: pass.causal, queries: at, dropout: p };
        let normed = layer.norm(tape, stream)?;
        let own = layer.context(tape, &normed, at)?;
        stream.add(tape, layer.forward(tape, &normed, &own, &attend)?, layer.after.as_deref())?;
        drop((normed, own));
        let cross = self.cross_attention.as_ref().zip(context).zip(pass.context.as_ref());
        if let Some(((layer, context), source)) = cross {
            let attend = Attend { bias: None, causal: false, queries: at, dropout: p };
            let normed = layer.norm(tape, stream)?;
            let context = layer.context(tape, context, source)?;
            stream.add(tape, layer.forward(tape, &normed, &context, &attend)?, layer.after.as_deref())?;
        }
        self.feed_forward.forward(tape, stream, at, p)
    }

    fn attentions_mut(&mut self) -> Vec<(Sublayer, &mut Attention)> {
        let cross = self.cross_attention.as_mut().map(|layer| (Sublayer::CrossAttention, layer));
        [(Sublayer::SelfAttention, &mut self.self_attention)].into_iter().chain(cross).collect()
    }

    fn outputs_mut(&mut self) -> Vec<OutputPlace<'_>> {
        let Self { self_attention, cross_attention, feed_forward } = self;
        let attentions = [
            (Sublayer::SelfAttention, Some(self_attention)),
            (Sublayer::CrossAttention, cross_attention.as_mut()),
        ];
        let attentions = attentions.into_iter().filter_map(|(sublayer, layer)| {
            let Attention { layer: name, after, .. } = layer?;
            Some(OutputPlace { name: name.clone(), sublayer, adapter: after })
        });
        let FeedForward { layer, after, .. } = feed_forward;
        let last = OutputPlace { name: layer.clone(), sublayer: Sublayer::FeedForward, adapter: after };
        attentions.chain([last]).collect()
    }

    /// The linear layers, and the norms.
    fn parts_mut(&mut self) -> (Vec<&mut Linear>, Vec<&mut Weight>) {
        let (mut linears, mut norms) = (Vec::new(), Vec::new());
        let attentions = [Some(&mut self.self_attention), self.cross_attention.as_mut()];
        for Attention { q, k, v, o, layer_norm, .. } in attentions.into_iter().flatten() {
            linears.extend([q, k, v, o]);
            norms.push(layer_norm);
        }
        let (products, norm) = self.feed_forward.parts_mut();
        linears.extend(products);
        norms.push(norm);
        (linears, norms)
    }
}
