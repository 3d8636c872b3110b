use candle_core::DType;
use tallow_ops::Traced;
use tallow_t5::T5;

use crate::kind::Draft;
use crate::{AdapterFile, Initial, Result};

/// A model with an adapter on it, for inference alone: it shares the base's weights, and keeps of the adapter its values,
/// without the moments and the buffer that training needs.
///
/// # Errors
/// If the adapter is of another model.
pub fn attach(mut model: T5, file: &AdapterFile) -> Result<T5> {
    attached(&mut model, file)?;
    Ok(model)
}

/// Hooks an adapter to `model`; the bytes that it takes.
pub(crate) fn attached(model: &mut T5, file: &AdapterFile) -> Result<usize> {
    let Draft { tensors, hook, layout } = file.method.kind().draft(model, false)?;
    let (device, dtype) = (model.device().clone(), model.dtype());
    let mut bytes = 0;
    let mut values = Vec::with_capacity(tensors.len());
    for spec in Draft::specs(tensors, &*layout, Initial::File(file))? {
        // Rounded in one step, as a model in training has them.
        let value = spec.value.to_dtype(DType::F32)?.to_device(&device)?.to_dtype(dtype)?;
        bytes += value.elem_count() * dtype.size_in_bytes();
        values.push(Traced::constant(value.contiguous()?));
    }
    hook(model, &values)?;
    Ok(bytes)
}
