//! What adapters change, put into the weights.

use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::Traced;

use crate::{Error, Result, T5};

/// A model whose adapters are in its weights, so that they cost nothing where it generates, and the model as it was.
///
/// A weight that is merged is a new one; the base's own stays untouched beside it, so what is unmerged is what was there, bit
/// for bit, and takes the memory of what an adapter has changed.
pub struct Merged {
    model: T5,
    original: T5,
}

impl Merged {
    /// Merges the adapters of `model`.
    ///
    /// # Errors
    /// If there is something that no weights compute.
    pub fn new(model: T5) -> Result<Self> {
        Ok(Self { model: model.merge()?, original: model })
    }

    /// The model that computes without adapters.
    pub fn model(&self) -> &T5 {
        &self.model
    }

    /// The model with its adapters beside its weights, as it was.
    pub fn unmerge(self) -> T5 {
        self.original
    }
}

impl T5 {
    /// A model without adapters that computes the same: what they change is in its weights, and weights that none changes
    /// are shared with this one. A model with a tied head that a method has changed has a head of its own then.
    ///
    /// # Errors
    /// If there is something that no weights compute.
    pub fn merge(&self) -> Result<Self> {
        let mut model = self.clone();
        if let Some(name) = model.beside_the_weights() {
            return Err(Error::NotMergeable { name });
        }
        if let Some(adapter) = model.head_adapter.take() {
            model.untie();
            let head = model.lm_head.as_mut().expect("the head has been untied");
            head.value = Traced::constant(adapter.merge(head.value.value())?);
        }
        let [encoder, decoder] = model.embeddings_mut().map(|place| place.adapter.take());
        match (encoder, decoder) {
            (None, None) => {}
            // One table serves both stacks.
            (Some(encoder), Some(decoder)) if Arc::ptr_eq(&encoder, &decoder) => {
                model.untie();
                let table = encoder.merge(model.shared.value.value())?;
                model.shared.value = Traced::constant(table);
            }
            _ => return Err(Error::NotMergeable { name: "encoder.embed_tokens".to_owned() }),
        }
        for linear in model.linears_mut() {
            if let Some(adapter) = linear.adapter.take() {
                let merged = adapter.merge(linear.weight.value.value())?;
                let merged = merged.ok_or_else(|| Error::NotMergeable { name: linear.name().to_owned() })?;
                linear.weight.value = Traced::constant(merged);
            }
        }
        Ok(model)
    }

    /// The checkpoint's tensors by name, with what adapters change merged into them.
    ///
    /// # Errors
    /// Those of [`T5::merge`].
    pub fn merged(&self) -> Result<Vec<(String, Tensor)>> {
        let mut model = self.merge()?;
        let weights = model.weights_mut().into_iter();
        Ok(weights.map(|weight| (weight.name().to_owned(), weight.value.value().clone())).collect())
    }

    /// The name of something hooked that is no weight and changes no weight, if there is such: prompt, prefix, what stands
    /// behind a sublayer.
    pub fn beside_the_weights(&self) -> Option<String> {
        let mut model = self.clone();
        if model.prompt.is_some() {
            return Some("the prompt".to_owned());
        }
        let prefixed = model.prefixes_mut().into_iter().find(|place| place.prefix.is_some());
        if let Some(place) = prefixed {
            return Some(place.name);
        }
        model.outputs_mut().into_iter().find(|place| place.adapter.is_some()).map(|place| place.name)
    }
}
