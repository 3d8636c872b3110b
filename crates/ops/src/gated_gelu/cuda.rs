use candle_core::Tensor;

use super::GatedGeluKernel;
use crate::cuda::{Cuda, Module, fill, module, operand, suffix, wanted};
use crate::{Dest, Error, Result};

const MODULE: Module = module!("gated_gelu");

fn check(gate: &Tensor, up: &Tensor) -> Result<()> {
    match gate.dims() == up.dims() {
        true => Ok(()),
        false => Err(Error::shape("gated_gelu", format!("{:?} and {:?}", gate.dims(), up.dims()))),
    }
}

impl GatedGeluKernel for Cuda {
    fn gated_gelu(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        check(gate, up)?;
        let (from, up) = (operand(gate)?, wanted(up, gate.dtype())?);
        fill(self, Dest::New, gate.shape(), gate.dtype(), |y, _| {
            self.kernel(&MODULE, &format!("tallow_gated_gelu_{}", suffix(from.dtype)))?
                .arg(y.pointer)
                .arg(from.pointer)
                .arg(up)
                .arg(gate.elem_count() as i64)
                .elements(gate.elem_count())
        })
    }

    fn gated_gelu_backward(&self, dy: Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
        check(gate, up)?;
        check(gate, &dy)?;
        let (from, up) = (operand(gate)?, wanted(up, gate.dtype())?);
        let over = wanted(&dy, gate.dtype())?;
        let dgate = fill(self, Dest::New, gate.shape(), gate.dtype(), |dgate, _| {
            self.kernel(&MODULE, &format!("tallow_gated_gelu_backward_{}", suffix(from.dtype)))?
                .arg(dgate.pointer)
                .arg(over)
                .arg(from.pointer)
                .arg(up)
                .arg(gate.elem_count() as i64)
                .elements(gate.elem_count())
        })?;
        Ok((dgate, dy))
    }
}
