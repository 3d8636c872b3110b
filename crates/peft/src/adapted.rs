use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use tallow_ops::{ParameterSpec, Parameters, Randomness, Traced};
use tallow_t5::T5;

use crate::lora::{self, LoraAdapter};
use crate::{AdapterFile, BaseName, LoraOptions, Method, Result};

/// What trained tensors hold before the first step.
#[derive(Clone, Copy, Debug)]
pub enum Initial<'a> {
    /// The method's own initial values, drawn from a seed.
    Seed(u64),
    /// The tensors of an adapter's file.
    File(&'a AdapterFile),
}

/// A model with a method hooked to it.
pub struct Adapted {
    /// The model.
    pub model: T5,
    /// What is trained; the model holds views of it.
    pub parameters: Parameters,
    /// The method.
    pub method: Method,
}

/// Hooks `method` to `model`, which computes in `dtype` from then on. Weights that are trained are best loaded in
/// f32: their masters are f32, and the model is given copies.
///
/// # Errors
/// If its targets match nothing, or the tensors of a file do not fit the model: all of them are listed.
pub fn inject(model: T5, method: &Method, initial: Initial, dtype: DType) -> Result<Adapted> {
    match method {
        Method::Lora(options) => inject_lora(model, options, initial, dtype),
        Method::Full(_) => inject_full(model, dtype),
    }
}

fn inject_lora(mut model: T5, options: &LoraOptions, initial: Initial, dtype: DType) -> Result<Adapted> {
    let device = model.device().clone();
    let mut linears = model.linears_mut();
    let selected = options.target_modules.select(linears.iter().map(|linear| linear.name()))?;
    let mut selected = selected.into_iter();
    linears.retain(|_| selected.next().unwrap_or(false));
    let specs: Vec<ParameterSpec> = match initial {
        Initial::Seed(seed) => {
            let randomness = Randomness::new(seed, 0, 0);
            let specs =
                linears.iter().zip(0..).map(|(linear, i)| lora::initial(linear, options, randomness, i));
            specs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
        }
        Initial::File(file) => {
            let wanted = linears
                .iter()
                .flat_map(|linear| lora::names(linear.name()).into_iter().zip(lora::shapes(linear, options)));
            file.take(wanted)?
        }
    };
    let parameters = Parameters::new(specs, &device, dtype)?;
    for (i, linear) in linears.into_iter().enumerate() {
        linear.adapter = Some(Arc::new(LoraAdapter {
            a: parameters.traced(2 * i),
            b: parameters.traced(2 * i + 1),
            scale: options.scale(),
            dropout: options.dropout,
        }));
    }
    Ok(Adapted { model, parameters, method: Method::Lora(options.clone()) })
}

fn inject_full(mut model: T5, dtype: DType) -> Result<Adapted> {
    let device = model.device().clone();
    let spec =
        |weight: &&mut tallow_t5::Weight| ParameterSpec::new(weight.name(), weight.value.value().clone());
    let specs = model.weights_mut().iter().map(spec).collect();
    let parameters = Parameters::new(specs, &device, dtype)?;
    for (i, weight) in model.weights_mut().into_iter().enumerate() {
        weight.train(parameters.traced(i));
    }
    Ok(Adapted { model, parameters, method: Method::Full(crate::FullOptions {}) })
}

impl Adapted {
    /// Loads the adapter in `folder` onto `model`.
    ///
    /// # Errors
    /// If it cannot be read, is of a kind that is not known here, or is of another model.
    pub fn load(model: T5, folder: &Path) -> Result<Self> {
        let (file, dtype) = (AdapterFile::open(folder)?, model.dtype());
        inject(model, &file.method, Initial::File(&file), dtype)
    }

    /// Writes what was trained to `folder`: PEFT files for an adapter, a whole model for full fine-tuning.
    /// `base` is the folder that the model was loaded from, `tokenizer` its tokenizer's file where it is not in
    /// there. A folder that is there already is replaced whole.
    ///
    /// # Errors
    /// If a file cannot be written; what was there before stays.
    pub fn save(&self, folder: &Path, base: &Path, tokenizer: Option<&Path>) -> Result<()> {
        self.save_as_of(folder, base, &base.into(), tokenizer)
    }

    /// The same, where an adapter is to call its base otherwise than by the folder.
    ///
    /// # Errors
    /// Those of [`Adapted::save`].
    pub fn save_as_of(
        &self,
        folder: &Path,
        base: &Path,
        name: &BaseName,
        tokenizer: Option<&Path>,
    ) -> Result<()> {
        match &self.method {
            Method::Lora(options) => crate::file::write(&self.parameters, options, folder, name),
            Method::Full(_) => Ok(tallow_t5::save(&self.masters(), base, tokenizer, folder)?),
        }
    }

    /// The model with the trained weights in f32, as they are kept, not as it computes with them.
    fn masters(&self) -> T5 {
        let values: HashMap<&str, Tensor> = self
            .parameters
            .entries()
            .iter()
            .enumerate()
            .map(|(i, entry)| (entry.name.as_str(), self.parameters.value(i)))
            .collect();
        let mut model = self.model.clone();
        for weight in model.weights_mut() {
            if let Some(value) = values.get(weight.name()) {
                weight.value = Traced::constant(value.clone());
            }
        }
        model
    }
}
