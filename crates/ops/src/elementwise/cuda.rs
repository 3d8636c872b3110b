use candle_core::{DType, Tensor};

use super::ElementwiseKernel;
use crate::cuda::{Cuda, Module, fill, module, operand, suffix, wanted};
use crate::{Dest, Error, Result};

const MODULE: Module = module!("elementwise");

impl Cuda {
    fn add_times(&self, dest: Dest, x: &Tensor, factor: f64, device_factor: u64) -> Result<Tensor> {
        let from = operand(x)?;
        fill(self, dest, x.shape(), x.dtype(), |y, accumulate| {
            self.kernel(&MODULE, &format!("tallow_add_{}_{}", suffix(from.dtype), suffix(y.dtype)))?
                .arg(y.pointer)
                .arg(from.pointer)
                .arg(factor as f32)
                .arg(device_factor)
                .arg(x.elem_count() as i64)
                .arg(i32::from(accumulate))
                .elements(x.elem_count())
        })
    }
}

impl ElementwiseKernel for Cuda {
    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        self.add(Dest::New, x, factor)
    }

    fn add(&self, dest: Dest, x: &Tensor, factor: f64) -> Result<Tensor> {
        self.add_times(dest, x, factor, 0)
    }

    fn add_scaled(&self, dest: Dest, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
        if factor.elem_count() != 1 {
            return Err(Error::shape("add_scaled", "the factor is not one number"));
        }
        self.add_times(dest, x, 1.0, wanted(factor, DType::F32)?)
    }
}
