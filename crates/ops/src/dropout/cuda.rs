use candle_core::Tensor;

use super::{DropoutKernel, Mask};
use crate::cuda::{Cuda, Module, fill, module, operand, suffix};
use crate::{Dest, Result};

const MODULE: Module = module!("dropout");

impl DropoutKernel for Cuda {
    fn dropout(&self, dest: Dest, x: &Tensor, mask: Mask) -> Result<Tensor> {
        let from = operand(x)?;
        fill(self, dest, x.shape(), x.dtype(), |y, accumulate| {
            self.kernel(&MODULE, &format!("tallow_dropout_{}_{}", suffix(from.dtype), suffix(y.dtype)))?
                .arg(y.pointer)
                .arg(from.pointer)
                .mask(Some(mask))
                .arg(x.elem_count() as i64)
                .arg(i32::from(accumulate))
                .elements(x.elem_count())
        })
    }
}
