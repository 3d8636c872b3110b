use candle_core::Tensor;

use super::ReluKernel;
use crate::cuda::{Cuda, Module, fill, module, operand, suffix, wanted};
use crate::{Dest, Result};

const MODULE: Module = module!("relu");

impl ReluKernel for Cuda {
    fn relu(&self, x: &Tensor) -> Result<Tensor> {
        let from = operand(x)?;
        fill(self, Dest::New, x.shape(), x.dtype(), |y, _| {
            self.kernel(&MODULE, &format!("tallow_relu_{}", suffix(from.dtype)))?
                .arg(y.pointer)
                .arg(from.pointer)
                .arg(x.elem_count() as i64)
                .elements(x.elem_count())
        })
    }

    fn relu_backward(&self, dest: Dest, dy: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (from, y) = (operand(dy)?, wanted(y, dy.dtype())?);
        fill(self, dest, dy.shape(), dy.dtype(), |dx, accumulate| {
            let name = format!("tallow_relu_backward_{}_{}", suffix(from.dtype), suffix(dx.dtype));
            self.kernel(&MODULE, &name)?
                .arg(dx.pointer)
                .arg(from.pointer)
                .arg(y)
                .arg(dy.elem_count() as i64)
                .arg(i32::from(accumulate))
                .elements(dy.elem_count())
        })
    }
}
