use candle_core::{DType, Tensor};

use super::{Added, Normed, RmsNormKernel};
use crate::cuda::{Cuda, Module, fill, module, operand, suffix, wanted};
use crate::{Dest, Error, Result};

const MODULE: Module = module!("rms_norm");

/// Threads to a row.
const THREADS: u32 = 256;
/// Rows whose part of a weight's gradient one thread sums.
const SLICE: usize = 128;

impl RmsNormKernel for Cuda {
    fn rms_norm(&self, x: &Tensor, added: Option<Added>, weight: &Tensor, eps: f64) -> Result<Normed> {
        let (rows, d) = x.dims2()?;
        let dtype = x.dtype();
        let (from, weight) = (operand(x)?, wanted(weight, dtype)?);
        let inverse = self.empty((rows, 1), DType::F32)?;
        let y = self.empty((rows, d), dtype)?;
        let sum = added.map(|_| self.empty((rows, d), dtype)).transpose()?;
        let sum_pointer = sum.as_ref().map_or(Ok(0), |sum| wanted(sum, dtype))?;
        let added_pointer = added.map_or(Ok(0), |added| wanted(added.value, dtype))?;
        self.kernel(&MODULE, &format!("tallow_rms_norm_{}", suffix(dtype)))?
            .arg(sum_pointer)
            .arg(wanted(&y, dtype)?)
            .arg(wanted(&inverse, DType::F32)?)
            .arg(from.pointer)
            .arg(added_pointer)
            .arg(weight)
            .mask(added.and_then(|added| added.mask))
            .arg(eps as f32)
            .arg(d as i32)
            .blocks((rows as u32, 1), THREADS)?;
        Ok(Normed { sum, y, inverse })
    }

    fn rms_norm_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        let (rows, d) = x.dims2()?;
        let (dtype, from) = (x.dtype(), check(dy, x)?);
        let (x, weight, inverse) = (wanted(x, dtype)?, wanted(weight, dtype)?, wanted(inverse, DType::F32)?);
        fill(self, dest, (rows, d), dtype, |dx, accumulate| {
            let name = format!("tallow_rms_norm_backward_{}_{}", suffix(dtype), suffix(dx.dtype));
            self.kernel(&MODULE, &name)?
                .arg(dx.pointer)
                .arg(from)
                .arg(x)
                .arg(weight)
                .arg(inverse)
                .arg(d as i32)
                .arg(i32::from(accumulate))
                .blocks((rows as u32, 1), THREADS)
        })
    }

    fn rms_norm_backward_weight(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        let (rows, d) = x.dims2()?;
        let (dtype, from) = (x.dtype(), check(dy, x)?);
        let slices = rows.div_ceil(SLICE);
        let partial = self.empty((slices, d), DType::F32)?;
        self.kernel(&MODULE, &format!("tallow_rms_norm_weight_partial_{}", suffix(dtype)))?
            .arg(wanted(&partial, DType::F32)?)
            .arg(from)
            .arg(wanted(x, dtype)?)
            .arg(wanted(inverse, DType::F32)?)
            .arg(rows as i32)
            .arg(SLICE as i32)
            .arg(d as i32)
            .blocks((slices as u32, (d as u32).div_ceil(THREADS)), THREADS)?;
        fill(self, dest, d, dtype, |dw, accumulate| {
            self.kernel(&MODULE, &format!("tallow_rms_norm_weight_{}", suffix(dw.dtype)))?
                .arg(dw.pointer)
                .arg(wanted(&partial, DType::F32)?)
                .arg(slices as i32)
                .arg(d as i32)
                .arg(i32::from(accumulate))
                .elements(d)
        })
    }
}

/// Where dy lies, which is like x.
fn check(dy: &Tensor, x: &Tensor) -> Result<u64> {
    match dy.dims() == x.dims() {
        true => wanted(dy, x.dtype()),
        false => Err(Error::shape("rms_norm", format!("a gradient {:?} of {:?}", dy.dims(), x.dims()))),
    }
}
