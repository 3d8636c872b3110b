use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Tape, Traced, linear};

use crate::tensors::Pages;
use crate::{Adapter, Result, Stream};

/// A named tensor of the checkpoint; trained if its value has a slot.
#[derive(Clone)]
pub struct Weight {
    name: String,
    /// The value, a constant unless a method trains it.
    pub value: Traced,
    /// Where it lies in the checkpoint's file, if it is read there.
    pages: Option<Pages>,
}

impl Weight {
    pub(crate) fn new(name: &str, value: Tensor, pages: Option<Pages>) -> Self {
        Self { name: name.to_owned(), value: Traced::constant(value), pages }
    }

    /// Puts another value in its place, trained or not, and lets go of the memory that the checkpoint's takes.
    pub fn replace(&mut self, value: Traced) {
        self.value = value;
        if let Some(pages) = self.pages.take() {
            pages.release();
        }
    }

    pub(crate) fn renamed(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The name in the checkpoint: `encoder.final_layer_norm.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A linear layer without bias, with a place for an adapter.
#[derive(Clone)]
pub struct Linear {
    /// (out, in).
    pub weight: Weight,
    /// What a method has hooked here.
    pub adapter: Option<Arc<dyn Adapter>>,
}

impl Linear {
    pub(crate) fn new(weight: Weight) -> Self {
        Self { weight, adapter: None }
    }

    /// The layer's name in the checkpoint: `encoder.block.0.layer.0.SelfAttention.q`.
    pub fn name(&self) -> &str {
        self.weight.name.strip_suffix(".weight").unwrap_or(&self.weight.name)
    }

    /// (out, in).
    pub fn shape(&self) -> (usize, usize) {
        self.weight.value.value().dims2().expect("a linear weight has two dimensions")
    }

    /// Whether the weight is trained, or what is hooked here.
    pub(crate) fn is_trained(&self) -> bool {
        self.adapter.is_some() || self.weight.value.is_traced()
    }

    /// x (n, in), the rows of `at` -> (n, out).
    pub(crate) fn forward(&self, tape: &Tape, x: &Traced, at: &Stream) -> Result<Traced> {
        match &self.adapter {
            None => Ok(linear(tape, x, &self.weight.value)?),
            Some(adapter) => adapter.forward(tape, x, &self.weight.value, at),
        }
    }
}
