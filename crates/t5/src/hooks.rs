//! The places where a fine-tuning method may take part; the model knows no method.
//!
//! Beside them, any named [`Weight`](crate::Weight) may be trained.

use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Kernels, Tape, Traced};

use crate::{Result, Stream};

/// What a method hooks to a linear layer.
pub trait Adapter: Send + Sync {
    /// The adapted layer's output: x (n, in), the rows of `at`; weight (out, in) -> (n, out).
    ///
    /// # Errors
    /// If an operation fails.
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced, at: &Stream) -> Result<Traced>;

    /// The weight (out, in) that computes the same without the adapter; none if there is no such weight.
    ///
    /// # Errors
    /// If an operation fails.
    fn merge(&self, weight: &Tensor) -> Result<Option<Tensor>>;

    /// What its forward pass keeps for backward.
    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    /// The adapter as it takes part where rows of several adapters share the product with `weight` (out, in); none if it
    /// cannot.
    ///
    /// # Errors
    /// If an operation fails.
    fn around_product(&self, _weight: &Tensor) -> Result<Option<Arc<dyn AroundProduct>>> {
        Ok(None)
    }
}

/// An adapter that leaves the product x W^T to others, and changes what goes in or what comes out; for inference.
pub trait AroundProduct: Send + Sync {
    /// What the product reads in place of x (n, in); none if it reads x itself.
    ///
    /// # Errors
    /// If an operation fails.
    fn before(&self, _kernels: &dyn Kernels, _x: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Changes the product y (n, out), in place, into the adapted layer's output for x (n, in).
    ///
    /// # Errors
    /// If an operation fails.
    fn after(&self, kernels: &dyn Kernels, x: &Tensor, y: &Tensor) -> Result<()>;
}

/// What the forward pass of an adapted layer keeps for backward, to foresee memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// Whether it keeps its input; that of a norm or an activation costs nothing.
    pub input: bool,
    /// Whether it keeps its output; where an attention or an activation keeps it anyway, it costs nothing.
    pub output: bool,
    /// Other values, for each token.
    pub values: usize,
}

/// What a method hooks to the head, which may be the embedding's table too.
pub trait HeadAdapter: Send + Sync {
    /// The logits of hidden states: (m, d_model), head (V, d_model) -> (m, V); for inference.
    ///
    /// # Errors
    /// If an operation fails.
    fn logits(&self, tape: &Tape, hidden: &Traced, head: &Traced) -> Result<Traced>;

    /// Hidden states and a head whose product is the logits: (m, k) and (V, k), for a loss that never has all of these.
    ///
    /// # Errors
    /// If an operation fails.
    fn widened(&self, tape: &Tape, hidden: &Traced, head: &Traced) -> Result<[Traced; 2]>;

    /// The head (V, d_model) that computes the same without the adapter.
    ///
    /// # Errors
    /// If an operation fails.
    fn merge(&self, head: &Tensor) -> Result<Tensor>;

    /// The columns that [`HeadAdapter::widened`] adds to the head.
    fn columns(&self) -> usize;
}

/// What a method hooks to the embedding of a stack.
pub trait EmbeddingAdapter: Send + Sync {
    /// The adapted rows of the table: ids (n), u32, table (V, d_model) -> (n, d_model).
    ///
    /// # Errors
    /// If an operation fails.
    fn forward(&self, tape: &Tape, table: &Traced, ids: &Tensor) -> Result<Traced>;

    /// The table (V, d_model) that holds the same without the adapter.
    ///
    /// # Errors
    /// If an operation fails.
    fn merge(&self, table: &Tensor) -> Result<Tensor>;

    /// The values that are kept for backward for each token.
    fn kept(&self) -> usize {
        0
    }
}

/// What a method hooks behind a sublayer.
pub trait OutputAdapter: Send + Sync {
    /// What is added to the stream beside the sublayer's output: the output (n, d_model), and the stream with the output
    /// added to it, likewise -> (n, d_model).
    ///
    /// # Errors
    /// If an operation fails.
    fn forward(&self, tape: &Tape, output: &Traced, stream: &Traced) -> Result<Traced>;

    /// The values that are kept for backward for each token.
    fn kept(&self) -> usize;
}

/// A kind of sublayer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sublayer {
    /// Tokens attend to one another.
    SelfAttention,
    /// The decoder's tokens attend to the source.
    CrossAttention,
    /// The feed-forward layer.
    FeedForward,
}

/// Keys and values (N, heads d_kv) that every row of the batch finds before its own.
pub type Prefix = [Traced; 2];

/// The place behind a sublayer.
pub struct OutputPlace<'a> {
    /// The sublayer's name in the checkpoint: `encoder.block.0.layer.1`.
    pub name: String,
    /// What it computes.
    pub sublayer: Sublayer,
    /// What is hooked there.
    pub adapter: &'a mut Option<Arc<dyn OutputAdapter>>,
}

/// The place before an attention's keys and values.
pub struct PrefixPlace<'a> {
    /// The attention's name in the checkpoint: `decoder.block.0.layer.0.SelfAttention`.
    pub name: String,
    /// Whether it is self-attention or cross-attention.
    pub sublayer: Sublayer,
    /// Keys and values there.
    pub prefix: &'a mut Option<Prefix>,
}

/// The place at a stack's embedding.
pub struct EmbeddingPlace<'a> {
    /// The name in the model: `encoder.embed_tokens`.
    pub name: &'static str,
    /// What is hooked there.
    pub adapter: &'a mut Option<Arc<dyn EmbeddingAdapter>>,
}
