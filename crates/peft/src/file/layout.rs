//! How trained tensors lie in an adapter's file.

use candle_core::Tensor;

use crate::{Error, Result};

/// A tensor's name and shape in a file.
pub(crate) type Stored = (String, Vec<usize>);

/// The way between trained tensors and those of a file.
pub(crate) trait Layout: Send + Sync {
    /// The file's tensors.
    fn stored(&self) -> Vec<Stored>;

    /// The trained tensors from the file's, which come in [`Layout::stored`]'s order.
    fn trained(&self, stored: Vec<Tensor>) -> Result<Vec<Tensor>>;

    /// The file's tensors from the trained ones, or from their gradients.
    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>>;

    /// Whether a file may hold a tensor of this name beside the others, which says nothing that the base does not say.
    fn is_beside(&self, _name: &str) -> bool {
        false
    }
}

/// Each trained tensor has a tensor of the file, or copies there.
pub(crate) struct Plain(pub Vec<Place>);

/// A trained tensor's place in a file.
pub(crate) struct Place {
    pub name: String,
    /// The trained tensor's.
    pub shape: Vec<usize>,
    pub form: Form,
}

/// How a file has a tensor.
pub(crate) enum Form {
    /// As it is trained.
    Same,
    /// In another shape of as many values.
    Shaped(Vec<usize>),
    /// Transposed.
    Transposed,
    /// As it is trained, under each of these names.
    Copies(Vec<String>),
}

impl Place {
    fn stored(&self) -> Vec<Stored> {
        let shape = match &self.form {
            Form::Same => self.shape.clone(),
            Form::Shaped(shape) => shape.clone(),
            Form::Transposed => self.shape.iter().rev().copied().collect(),
            Form::Copies(names) => {
                return names.iter().map(|name| (name.clone(), self.shape.clone())).collect();
            }
        };
        vec![(self.name.clone(), shape)]
    }
}

impl Plain {
    /// Tensors that lie in the file as they are trained, by name and shape.
    pub fn same(tensors: &[super::Trained]) -> Self {
        let place = |tensor: &super::Trained| Place {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            form: Form::Same,
        };
        Self(tensors.iter().map(place).collect())
    }
}

impl Layout for Plain {
    fn stored(&self) -> Vec<Stored> {
        self.0.iter().flat_map(Place::stored).collect()
    }

    fn trained(&self, stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut stored = stored.into_iter();
        let mut next = || stored.next().expect("the file's tensors are those of the layout");
        let trained = self.0.iter().map(|place| match &place.form {
            Form::Same => Ok(next()),
            Form::Shaped(_) => Ok(next().reshape(place.shape.as_slice())?),
            Form::Transposed => Ok(next().t()?.contiguous()?),
            Form::Copies(names) => {
                let first = next();
                for name in &names[1..] {
                    let apart = (&first - next())?.abs()?.sum_all()?.to_scalar::<f32>()?;
                    if apart != 0.0 {
                        return Err(Error::Apart { names: [names[0].clone(), name.clone()] });
                    }
                }
                Ok(first)
            }
        });
        trained.collect()
    }

    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut written = Vec::with_capacity(trained.len());
        for (place, tensor) in self.0.iter().zip(trained) {
            match &place.form {
                Form::Same => written.push(tensor),
                Form::Shaped(shape) => written.push(tensor.reshape(shape.as_slice())?),
                Form::Transposed => written.push(tensor.t()?.contiguous()?),
                Form::Copies(names) => written.extend(names.iter().map(|_| tensor.clone())),
            }
        }
        Ok(written)
    }

    fn is_beside(&self, name: &str) -> bool {
        // peft writes the base's own weight beside an adapter of the head.
        name.ends_with(".base_layer.weight")
    }
}
