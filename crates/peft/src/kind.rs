//! What every way to fine-tune has to say of itself.

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};
use tallow_ops::{ParameterSpec, Randomness, Traced};
use tallow_t5::{Linear, T5, Weight};

use crate::file::Layout;
use crate::{Initial, Result};

/// A way to fine-tune: a file of its own, and an arm of [`Method::kind`](crate::Method).
pub(crate) trait Kind {
    /// What is wrong with the options, by key.
    fn problems(&self) -> Vec<(&'static str, String)>;

    /// In words: `LoRA of rank 8 on q, v`.
    fn describe(&self) -> String;

    /// What is trained of `model`, and where it takes part. `fresh` says that no file gives the values.
    ///
    /// # Errors
    /// If the options match nothing, or ask of the model what it cannot do.
    fn draft(&self, model: &T5, fresh: bool) -> Result<Draft>;

    /// Whether what is trained is kept apart from the base, as an adapter.
    fn has_adapter(&self) -> bool {
        true
    }

    /// Whether it starts from the digits of the base's own weights, which are best loaded in f32 then.
    fn starts_from_weights(&self) -> bool {
        false
    }

    /// The values that its file holds, where that of an adapter that was read would hold `stored`.
    ///
    /// # Errors
    /// If the options match nothing.
    fn in_file(&self, _model: &T5, stored: usize) -> Result<usize> {
        Ok(stored)
    }

    /// The keys of adapter_config.json that are its own, `peft_type` among them.
    fn config(&self, model: &T5) -> Map<String, Value>;
}

/// What a method trains of a model, and where it takes part, before either is done.
pub(crate) struct Draft {
    pub tensors: Vec<Trained>,
    /// Hooks the tensors, in order, to the model.
    pub hook: Hook,
    /// How they lie in a file.
    pub layout: Box<dyn Layout>,
}

pub(crate) type Hook = Box<dyn FnOnce(&mut T5, &[Traced]) -> Result<()>>;

/// A tensor that is to be trained.
pub(crate) struct Trained {
    /// Its name in files and messages.
    pub name: String,
    pub shape: Vec<usize>,
    /// What it holds before the first step.
    pub start: Start,
    /// Multiplies the learning rate.
    pub rate: f64,
}

/// What a tensor holds before the first step.
pub(crate) enum Start {
    Zeros,
    Ones,
    /// Even in (-bound, bound).
    Uniform(f64),
    /// Of mean 0 and this deviation.
    Normal(f64),
    /// Rows of this table, drawn.
    Rows(Tensor),
    /// These values.
    Values(Tensor),
}

impl Trained {
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, start: Start) -> Self {
        Self { name: name.into(), shape: shape.into(), start, rate: 1.0 }
    }

    fn spec(self, value: Tensor) -> ParameterSpec {
        ParameterSpec { rate: self.rate, ..ParameterSpec::new(self.name, value) }
    }

    /// Its value before the first step; random ones are the `site`th of `randomness`.
    fn started(&self, randomness: Randomness, site: u32) -> Result<Tensor> {
        let (shape, count) = (self.shape.as_slice(), self.shape.iter().product());
        let drawn = |values: Vec<f32>| Ok(Tensor::from_vec(values, shape, &Device::Cpu)?);
        match &self.start {
            Start::Zeros => Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?),
            Start::Ones => Ok(Tensor::ones(shape, DType::F32, &Device::Cpu)?),
            Start::Uniform(bound) => {
                let bound = *bound as f32;
                drawn(randomness.uniform(site, count).map(|u| bound * (2.0 * u - 1.0)).collect())
            }
            Start::Normal(deviation) => {
                drawn(randomness.normal(site, count).map(|x| *deviation as f32 * x).collect())
            }
            Start::Rows(table) => {
                let (rows, of) = (self.shape[0], table.dims()[0]);
                let drawn = randomness.uniform(site, rows).map(|u| (u * of as f32) as u32);
                let drawn: Vec<u32> = drawn.map(|row| row.min(of as u32 - 1)).collect();
                Ok(table.index_select(&Tensor::new(drawn, table.device())?, 0)?)
            }
            Start::Values(values) => Ok(values.clone()),
        }
    }
}

/// The linear layer that a draft has found by its name.
pub(crate) fn linear_named<'a>(model: &'a mut T5, name: &str) -> &'a mut Linear {
    let linear = model.linears_mut().into_iter().find(|linear| linear.name() == name);
    linear.expect("the layer was found before")
}

/// The weight that a draft has found by its name.
pub(crate) fn weight_named<'a>(model: &'a mut T5, name: &str) -> &'a mut Weight {
    let weight = model.weights_mut().into_iter().find(|weight| weight.name() == name);
    weight.expect("the weight was found before")
}

impl Draft {
    /// The tensors with their values.
    pub fn specs(tensors: Vec<Trained>, layout: &dyn Layout, initial: Initial) -> Result<Vec<ParameterSpec>> {
        let values = match initial {
            Initial::Seed(seed) => {
                let randomness = Randomness::new(seed, 0, 0);
                let started = tensors.iter().zip(0..);
                started.map(|(tensor, site)| tensor.started(randomness, site)).collect::<Result<Vec<_>>>()?
            }
            Initial::File(file) => layout.trained(file.take(layout)?)?,
        };
        Ok(tensors.into_iter().zip(values).map(|(tensor, value)| tensor.spec(value)).collect())
    }
}
