use candle_core::{DType, Device, Tensor};

use crate::{Error, Result, Traced};

/// Parameters start at multiples of this many elements, so that no two share a cache line or a vector.
const ALIGNMENT: usize = 64;

/// Values that are copied at a time: a device may have no room for all of them twice, and candle counts in 32 bits.
const PIECE: usize = 1 << 26;

/// A tensor to be trained.
#[derive(Clone, Debug)]
pub struct ParameterSpec {
    /// Its name in files and messages.
    pub name: String,
    /// Its initial value.
    pub value: Tensor,
    /// Multiplies the learning rate.
    pub rate: f64,
    /// Whether weight decay applies.
    pub decay: bool,
}

impl ParameterSpec {
    /// A parameter with the plain learning rate, and decay.
    pub fn new(name: impl Into<String>, value: Tensor) -> Self {
        Self { name: name.into(), value, rate: 1.0, decay: true }
    }
}

/// One parameter's place in the flat buffer.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in files and messages.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first element in the buffer.
    pub offset: usize,
    /// Multiplies the learning rate.
    pub rate: f64,
    /// Whether weight decay applies.
    pub decay: bool,
}

impl Parameter {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Every trainable tensor, in one flat buffer [parameters | first moments | second moments], f32.
///
/// The optimiser, the global norm, a checkpoint: one pass each. A model that computes in another type reads a
/// copy of the parameters in that type, which every step renews. Values change in place, so the [`Traced`] views
/// that a model holds stay valid from step to step.
#[derive(Clone, Debug)]
pub struct Parameters {
    entries: Vec<Parameter>,
    state: Tensor,
    /// The parameters in the model's type, where that is not f32.
    compute: Option<Tensor>,
    len: usize,
}

impl Parameters {
    /// Lays out `specs` on `device`, for a model that computes in `dtype`; the moments are zero.
    ///
    /// # Errors
    /// If candle cannot make the buffer.
    pub fn new(specs: Vec<ParameterSpec>, device: &Device, dtype: DType) -> Result<Self> {
        let mut entries = Vec::with_capacity(specs.len());
        let mut len = 0;
        for spec in &specs {
            entries.push(Parameter {
                name: spec.name.clone(),
                shape: spec.value.dims().to_vec(),
                offset: len,
                rate: spec.rate,
                decay: spec.decay,
            });
            len += spec.value.elem_count().next_multiple_of(ALIGNMENT);
        }
        let state = Tensor::zeros(3 * len, DType::F32, device)?;
        for (spec, entry) in specs.into_iter().zip(&entries) {
            let value = spec.value.to_dtype(DType::F32)?.to_device(device)?.flatten_all()?.contiguous()?;
            // A value may itself be a view of another buffer on the same storage; never of this fresh one.
            state.slice_set(&value, 0, entry.offset)?;
        }
        let compute = match dtype {
            DType::F32 => None,
            dtype => Some(state.narrow(0, 0, len)?.to_dtype(dtype)?),
        };
        Ok(Self { entries, state, compute, len })
    }

    /// Tensors to be trained, by their shapes alone, and the length that a gradient buffer of them would have: nothing can
    /// be computed by them, but what they would take can be told.
    ///
    /// # Errors
    /// If candle cannot make a view.
    pub fn sketched(shapes: &[Vec<usize>], device: &Device, dtype: DType) -> Result<(Vec<Traced>, usize)> {
        let (mut traced, mut len) = (Vec::with_capacity(shapes.len()), 0);
        for shape in shapes {
            // One number, seen as all of them.
            let value = Tensor::zeros((), dtype, device)?.broadcast_as(shape.as_slice())?;
            traced.push(Traced::parameter(value, len));
            len += shape.iter().product::<usize>().next_multiple_of(ALIGNMENT);
        }
        Ok((traced, len))
    }

    /// The parameters' places, in order.
    pub fn entries(&self) -> &[Parameter] {
        &self.entries
    }

    /// The number of trained values, without the gaps between them.
    pub fn trainable(&self) -> usize {
        self.entries.iter().map(Parameter::len).sum()
    }

    /// [parameters | first moments | second moments], f32.
    pub fn state(&self) -> &Tensor {
        &self.state
    }

    /// The length of each third of [`Self::state`], gaps included: the length of a gradient buffer.
    pub fn buffer_len(&self) -> usize {
        self.len
    }

    /// Replaces all of [`Self::state`] in place.
    ///
    /// # Errors
    /// If `state` has another length.
    pub fn restore(&self, state: &Tensor) -> Result<()> {
        if state.dims() != self.state.dims() {
            let (found, wanted) = (state.dims(), self.state.dims());
            return Err(Error::shape("restore", format!("{found:?} values for a buffer of {wanted:?}")));
        }
        for start in (0..3 * self.len).step_by(PIECE) {
            let piece = state.narrow(0, start, PIECE.min(3 * self.len - start))?;
            self.state.slice_set(&piece.force_contiguous()?.to_device(self.state.device())?, 0, start)?;
        }
        let Some(compute) = &self.compute else { return Ok(()) };
        for start in (0..self.len).step_by(PIECE) {
            let values = self.state.narrow(0, start, PIECE.min(self.len - start))?;
            compute.slice_set(&values.to_dtype(compute.dtype())?, 0, start)?;
        }
        Ok(())
    }

    /// The parameters in the model's type, where that is not f32: laid out like each third of [`Self::state`].
    pub(crate) fn compute_copy(&self) -> Option<&Tensor> {
        self.compute.as_ref()
    }

    /// A parameter as an input of operations, in the model's type.
    pub fn traced(&self, index: usize) -> Traced {
        let buffer = self.compute.as_ref().unwrap_or(&self.state);
        let value = self.view(index, buffer).expect("the buffer holds every entry");
        Traced::parameter(value, self.entries[index].offset)
    }

    /// A parameter's value, f32: what is kept of it.
    pub fn value(&self, index: usize) -> Tensor {
        self.view(index, &self.state).expect("the buffer holds every entry")
    }

    /// A parameter's range of any buffer laid out like this one, in the parameter's shape.
    ///
    /// # Errors
    /// If `buffer` is shorter.
    pub fn view(&self, index: usize, buffer: &Tensor) -> Result<Tensor> {
        let entry = &self.entries[index];
        Ok(buffer.narrow(0, entry.offset, entry.len())?.reshape(entry.shape.as_slice())?)
    }

    /// A zeroed gradient buffer.
    ///
    /// # Errors
    /// If candle cannot make it.
    pub fn gradients(&self) -> Result<Tensor> {
        Ok(Tensor::zeros(self.len, DType::F32, self.state.device())?)
    }
}
