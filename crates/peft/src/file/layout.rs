//! How trained tensors lie in an adapter's file.

use candle_core::Tensor;

use crate::Result;

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

/// One tensor of the file for each trained one.
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
        let stored = |place: &Place| {
            let shape = match &place.form {
                Form::Same => place.shape.clone(),
                Form::Shaped(shape) => shape.clone(),
                Form::Transposed => place.shape.iter().rev().copied().collect(),
            };
            (place.name.clone(), shape)
        };
        self.0.iter().map(stored).collect()
    }

    fn trained(&self, stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let trained = |(place, tensor): (&Place, Tensor)| match place.form {
            Form::Same => Ok(tensor),
            Form::Shaped(_) => Ok(tensor.reshape(place.shape.as_slice())?),
            Form::Transposed => Ok(tensor.t()?.contiguous()?),
        };
        self.0.iter().zip(stored).map(trained).collect()
    }

    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let written = |(place, tensor): (&Place, Tensor)| match &place.form {
            Form::Same => Ok(tensor),
            Form::Shaped(shape) => Ok(tensor.reshape(shape.as_slice())?),
            Form::Transposed => Ok(tensor.t()?.contiguous()?),
        };
        self.0.iter().zip(trained).map(written).collect()
    }

    fn is_beside(&self, name: &str) -> bool {
        // peft writes the base's own weight beside an adapter of the head.
        name.ends_with(".base_layer.weight")
    }
}
