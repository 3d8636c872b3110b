use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Tensor};
use tallow_ops::{Parameters, Traced};
use tallow_t5::T5;

use crate::file::{self, Layout};
use crate::kind::Draft;
use crate::{AdapterFile, BaseName, Method, Result};

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
    layout: Box<dyn Layout>,
}

/// Hooks `method` to `model`, which computes in `dtype` from then on. Where [`Method::starts_from_weights`], the model is
/// best loaded in f32: masters of trained weights are f32, and all that is not trained is rounded to `dtype` here.
///
/// # Errors
/// If its targets match nothing, or the tensors of a file do not fit the model: all of them are listed.
pub fn inject(mut model: T5, method: &Method, initial: Initial, dtype: DType) -> Result<Adapted> {
    let fresh = matches!(initial, Initial::Seed(_));
    let Draft { tensors, hook, layout } = method.kind().draft(&model, fresh)?;
    let device = model.device().clone();
    let parameters = Parameters::new(Draft::specs(tensors, &*layout, initial)?, &device, dtype)?;
    let traced: Vec<Traced> = (0..parameters.entries().len()).map(|i| parameters.traced(i)).collect();
    hook(&mut model, &traced)?;
    for weight in model.weights_mut() {
        if !weight.value.is_traced() && weight.value.value().dtype() != dtype {
            weight.value = Traced::constant(weight.value.value().to_dtype(dtype)?);
        }
    }
    Ok(Adapted { model, parameters, method: method.clone(), layout })
}

/// A model with a method hooked to it in shape alone: what training takes can be told by it, nothing computed.
pub struct Sketch {
    /// The model.
    pub model: T5,
    /// The number of values that are trained.
    pub trainable: usize,
    /// The length of a gradient buffer, gaps between tensors included.
    pub buffer_len: usize,
    /// The number of values in the adapter's file, f32.
    pub in_file: usize,
}

/// What [`inject`] would make of `model`, without memory for what is trained, or the time that initial values take.
///
/// # Errors
/// If the method's targets match nothing.
pub fn sketch(mut model: T5, method: &Method) -> Result<Sketch> {
    let kind = method.kind();
    let Draft { tensors, hook, layout } = kind.draft(&model, false)?;
    let size = |shape: &[usize]| shape.iter().product::<usize>();
    let in_file = kind.in_file(&model, layout.stored().iter().map(|(_, shape)| size(shape)).sum())?;
    let shapes: Vec<Vec<usize>> = tensors.into_iter().map(|tensor| tensor.shape).collect();
    let (traced, buffer_len) = Parameters::sketched(&shapes, model.device(), model.dtype())?;
    hook(&mut model, &traced)?;
    let trainable = shapes.iter().map(|shape| size(shape)).sum();
    Ok(Sketch { model, trainable, buffer_len, in_file })
}

impl Adapted {
    /// Loads the adapter in `folder` onto `model`.
    ///
    /// # Errors
    /// If it cannot be read, is of a kind that is not known here, or is of another model.
    pub fn load(model: T5, folder: &Path) -> Result<Self> {
        Self::from_file(model, &AdapterFile::open(folder)?)
    }

    /// Loads an adapter onto `model`.
    ///
    /// # Errors
    /// If it is of another model.
    pub fn from_file(model: T5, file: &AdapterFile) -> Result<Self> {
        let dtype = model.dtype();
        inject(model, &file.method, Initial::File(file), dtype)
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
        match self.method.has_adapter() {
            true => file::write(self, folder, name),
            false => Ok(tallow_t5::save(&self.masters(), base, tokenizer, folder)?),
        }
    }

    /// What was trained as an adapter's file has it, by name.
    ///
    /// # Errors
    /// If a tensor cannot be laid out.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.laid_out((0..self.parameters.entries().len()).map(|i| Ok(self.parameters.value(i))))
    }

    /// Gradients, in a buffer of the parameters' length, as an adapter's file would have them.
    ///
    /// # Errors
    /// If the buffer is shorter, or a tensor cannot be laid out.
    pub fn gradients(&self, buffer: &Tensor) -> Result<Vec<(String, Tensor)>> {
        self.laid_out((0..self.parameters.entries().len()).map(|i| Ok(self.parameters.view(i, buffer)?)))
    }

    fn laid_out(&self, trained: impl Iterator<Item = Result<Tensor>>) -> Result<Vec<(String, Tensor)>> {
        let written = self.layout.written(trained.collect::<Result<_>>()?)?;
        Ok(self.layout.stored().into_iter().map(|(name, _)| name).zip(written).collect())
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
