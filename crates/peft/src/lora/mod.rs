//! Low-rank updates of frozen weights. Hu et al. 2021.

mod adapter;
mod converted;
mod file;
mod modules;
mod options;
mod start;
mod targets;
mod token_rows;

use std::sync::Arc;

use candle_core::Tensor;
use serde_json::{Map, Value};
use tallow_ops::Traced;
use tallow_t5::{T5, Weight};

pub(crate) use self::adapter::LoraAdapter;
use self::adapter::LoraEmbedding;
use self::converted::Converted;
use self::modules::{saved, train};
pub use self::options::{LoraOptions, LoraStart};
use self::targets::At;
pub(crate) use self::targets::{Target, layer, names};
use self::token_rows::TokenRows;
use crate::file::{Form, Layout, Place, Plain, prefixed};
use crate::kind::{Draft, Hook, Kind, Start, Trained, linear_named};
use crate::{Error, Result};

pub(crate) use self::file::{as_peft_allows, config, read};

/// What LoRA trains of a model: A and B of each target come first.
pub(crate) struct Drafted {
    pub tensors: Vec<Trained>,
    pub places: Vec<Place>,
    pub hook: Hook,
    /// A and B that were taken out of each target's weight, if they were.
    taken: Vec<[Tensor; 2]>,
}

impl LoraOptions {
    /// A and B of a target before the first step.
    fn pair(&self, target: &Target) -> [Trained; 2] {
        let [a, b] = names(&target.name);
        let Target { output, input, rank, place, .. } = *target;
        let (a, b) = match (place, self.init_lora_weights) {
            // peft starts an embedding's other matrix at random, and this one at zero.
            (At::Embedding, _) => (
                Trained::new(a, [input, rank], Start::Zeros),
                Trained::new(b, [output, rank], Start::Normal(1.0)),
            ),
            (_, LoraStart::Gaussian) => (
                Trained::new(a, [rank, input], Start::Normal(1.0 / rank as f64)),
                Trained::new(b, [output, rank], Start::Zeros),
            ),
            _ => (
                Trained::new(a, [rank, input], Start::Uniform(1.0 / (input as f64).sqrt())),
                Trained::new(b, [output, rank], Start::Zeros),
            ),
        };
        [a, Trained { rate: self.loraplus_lr_ratio, ..b }]
    }

    /// A and B that are taken out of each target's weight, if the method starts so.
    fn taken(&self, model: &T5, targets: &[Target]) -> Result<Vec<[Tensor; 2]>> {
        let start = self.init_lora_weights;
        if !start.takes_from_the_weight() {
            return Ok(Vec::new());
        }
        if let Some(other) = targets.iter().find(|target| target.place != At::Linear) {
            return Err(Error::Start { name: other.name.clone(), rank: None });
        }
        let mut model = model.clone();
        let taken = targets.iter().map(|target| {
            if target.rank > target.output.min(target.input) {
                return Err(Error::Start { name: target.name.clone(), rank: Some(target.rank) });
            }
            let weight = linear_named(&mut model, &target.name).weight.value.value();
            let pair = start::from_weight(start, weight, target.rank, target.scale)?;
            Ok(pair.expect("the method starts from the weight"))
        });
        taken.collect()
    }

    /// What LoRA trains of a model.
    pub(crate) fn drafted(&self, model: &T5, fresh: bool) -> Result<Drafted> {
        let targets = self.targets(model)?;
        let taken = if fresh { self.taken(model, &targets)? } else { Vec::new() };
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for (i, target) in targets.iter().enumerate() {
            let mut pair = self.pair(target);
            if let Some(taken) = taken.get(i) {
                pair.iter_mut()
                    .zip(taken)
                    .for_each(|(trained, value)| trained.start = Start::Values(value.clone()));
            }
            for (trained, matrix) in pair.into_iter().zip(["A", "B"]) {
                let turned = target.place == At::Embedding && matrix == "A";
                let form = if turned { Form::Transposed } else { Form::Same };
                places.push(Place { name: trained.name.clone(), shape: trained.shape.clone(), form });
                tensors.push(trained);
            }
        }
        let saved = saved(&self.modules_to_save, model)?;
        let whole = saved.iter().map(|(_, weight)| crate::full::trained(prefixed(weight.name()), weight));
        let whole = whole.map(|trained| (trained, Form::Same));
        // peft has rows of a table for each stack, and would tie those of `shared` to the head's.
        let copies = model
            .clone()
            .embeddings_mut()
            .map(|place| prefixed(&format!("{}.token_adapter.trainable_tokens_delta", place.name)));
        let rows = self.token_rows(model)?.map(|trained| (trained, Form::Copies(copies.to_vec())));
        for (trained, form) in whole.chain(rows) {
            places.push(Place { name: trained.name.clone(), shape: trained.shape.clone(), form });
            tensors.push(trained);
        }
        let hooked = taken.clone();
        let (dropout, tokens) = (self.dropout, self.trainable_token_indices.clone());
        let saved: Vec<String> = saved.into_iter().map(|(name, _)| name).collect();
        let hook = move |model: &mut T5, traced: &[Traced]| {
            let mut traced = traced.iter().cloned();
            for (i, target) in targets.iter().enumerate() {
                let (a, b) = (next(&mut traced), next(&mut traced));
                let (name, scale) = (&target.name, target.scale);
                match target.place {
                    At::Linear => {
                        let linear = linear_named(model, name);
                        if let Some([a0, b0]) = hooked.get(i) {
                            take_out(&mut linear.weight, a0, b0, scale)?;
                        }
                        linear.adapter = Some(Arc::new(LoraAdapter { a, b, scale, dropout }));
                    }
                    At::Head => model.head_adapter = Some(Arc::new(LoraAdapter { a, b, scale, dropout })),
                    At::Embedding => {
                        let adapter = LoraEmbedding { rows: a, b, scale };
                        let places = model.embeddings_mut().into_iter();
                        let place = places.into_iter().find(|place| place.name == name);
                        *place.expect("the stack is there").adapter = Some(Arc::new(adapter));
                    }
                }
            }
            train(model, &saved, &mut traced);
            if !tokens.is_empty() {
                let of_token = tokens.iter().copied().zip(0..).collect();
                let adapter = Arc::new(TokenRows { rows: next(&mut traced), of_token });
                model.embeddings_mut().into_iter().for_each(|place| *place.adapter = Some(adapter.clone()));
            }
            Ok(())
        };
        Ok(Drafted { tensors, places, hook: Box::new(hook), taken })
    }

    /// Rows of the embedding that are trained, as one tensor.
    fn token_rows(&self, model: &T5) -> Result<Option<Trained>> {
        let tokens = &self.trainable_token_indices;
        if tokens.is_empty() {
            return Ok(None);
        }
        let table = model.embedding();
        let refuse = |what: String| Err(Error::Tokens { what: format!("trainable_token_indices: {what}") });
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= model.config.vocab_size) {
            return refuse(format!("{token} is past the vocabulary of {}", model.config.vocab_size));
        }
        if model.is_tied() {
            return refuse("the embedding is the head too, whose rows would change with it".to_owned());
        }
        let embedding = |target: &Target| target.place == At::Embedding;
        if self.targets(model)?.iter().any(embedding)
            || self.modules_to_save.iter().any(|name| name == "shared")
        {
            return refuse("the whole embedding is trained already".to_owned());
        }
        let index = Tensor::new(tokens.as_slice(), table.device())?;
        let rows = table.index_select(&index, 0)?;
        let name = prefixed("shared.token_adapter.trainable_tokens_delta");
        Ok(Some(Trained::new(name, rows.dims().to_vec(), Start::Values(rows))))
    }
}

/// W - s B A in place of W.
fn take_out(weight: &mut Weight, a: &Tensor, b: &Tensor, scale: f64) -> Result<()> {
    let value = weight.value.value();
    let update = (b.matmul(a)? * scale)?.to_device(value.device())?.to_dtype(value.dtype())?;
    let left = (value - update)?;
    weight.replace(Traced::constant(left));
    Ok(())
}

fn next(traced: &mut impl Iterator<Item = Traced>) -> Traced {
    traced.next().expect("every tensor of the draft has a place in the buffer")
}

impl Kind for LoraOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        Self::problems(self)
    }

    fn describe(&self) -> String {
        format!("LoRA {}", self.in_words())
    }

    fn draft(&self, model: &T5, fresh: bool) -> Result<Draft> {
        let Drafted { tensors, places, hook, taken } = self.drafted(model, fresh)?;
        let plain = Plain(places);
        let layout: Box<dyn Layout> = match taken.is_empty() {
            true => Box::new(plain),
            false => Box::new(Converted { plain, taken }),
        };
        Ok(Draft { tensors, hook, layout })
    }

    fn starts_from_weights(&self) -> bool {
        Self::starts_from_weights(self)
    }

    /// What was taken out of the base lies beside what is trained.
    fn in_file(&self, model: &T5, stored: usize) -> Result<usize> {
        let pair = |target: &Target| target.rank * (target.input + target.output);
        match self.init_lora_weights.takes_from_the_weight() {
            true => Ok(stored + self.targets(model)?.iter().map(pair).sum::<usize>()),
            false => Ok(stored),
        }
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        config(&as_peft_allows(self, model), false)
    }
}

impl LoraOptions {
    pub(crate) fn in_words(&self) -> String {
        format!("of rank {} on {}", self.rank, self.target_modules)
    }

    pub(crate) fn starts_from_weights(&self) -> bool {
        !self.modules_to_save.is_empty()
            || !self.trainable_token_indices.is_empty()
            || self.init_lora_weights.takes_from_the_weight()
    }
}
