use candle_core::{DType, Device, Tensor};

use crate::{Dest, Kernels, Result};

/// Kernels made of candle's own tensor operations: they run wherever candle runs, and are the second
/// opinion that every fused kernel is tested against.
///
/// bf16 operands are widened, and results rounded once; matrix products alone run in bf16.
#[derive(Clone, Debug)]
pub struct Composed {
    device: Device,
}

impl Composed {
    /// Kernels for tensors on `device`.
    pub fn new(device: Device) -> Self {
        Self { device }
    }
}

impl Kernels for Composed {
    fn name(&self) -> &'static str {
        "composed"
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn hardware(&self) -> String {
        match &self.device {
            Device::Cpu => crate::instructions().to_owned(),
            other => format!("{:?}", other.location()),
        }
    }
}

/// The tensor in f32, in which everything but matrix products is computed.
pub(crate) fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F32)?)
}

/// Puts a finished result where it was wanted: fresh ones are rounded to `dtype`.
pub(crate) fn deliver(dest: Dest, result: Tensor, dtype: DType) -> Result<Tensor> {
    match dest {
        Dest::New => Ok(result.to_dtype(dtype)?),
        Dest::Add(sum) => {
            let total = (wide(&sum)? + wide(&result)?)?.to_dtype(sum.dtype())?;
            // Flat, since a scalar has no dimension to be set along.
            sum.flatten_all()?.slice_set(&total.flatten_all()?, 0, 0)?;
            Ok(sum)
        }
    }
}
