use candle_core::{DType, Tensor};

use super::{AdamWKernel, Buffers, Range, Step};
use crate::cuda::{Cuda, Module, module, operand, suffix, wanted};
use crate::{Error, Result};

const MODULE: Module = module!("adamw");

const THREADS: u32 = 256;
/// Blocks that each sum a part of the squares.
const PARTS: usize = 1024;

impl AdamWKernel for Cuda {
    fn adamw(&self, buffers: Buffers, ranges: &[Range], step: Step) -> Result<()> {
        let Buffers { state, gradients, squares, compute } = buffers;
        let n = gradients.elem_count();
        if state.elem_count() != 3 * n || compute.is_some_and(|compute| compute.elem_count() != n) {
            let what = format!("a state of {} for {n} gradients", state.elem_count());
            return Err(Error::shape("adamw", what));
        }
        let compute = compute.map(operand).transpose()?;
        let name = format!("tallow_adamw_{}", suffix(compute.map_or(DType::F32, |compute| compute.dtype)));
        for range in ranges {
            self.kernel(&MODULE, &name)?
                .arg(wanted(state, DType::F32)?)
                .arg(wanted(gradients, DType::F32)?)
                .arg(compute.map_or(0, |compute| compute.pointer))
                .arg(wanted(squares, DType::F32)?)
                .arg(n as i64)
                .bytes(&[range.start as u64, range.end as u64, pair(range.rate, range.keep)])
                .bytes(&constants(step))
                .elements(range.end - range.start)?;
        }
        Ok(())
    }

    fn sum_of_squares(&self, x: &Tensor) -> Result<Tensor> {
        let n = x.elem_count();
        let parts = n.div_ceil(THREADS as usize).clamp(1, PARTS);
        let partial = self.empty(parts, DType::F64)?;
        let squares = self.empty((), DType::F32)?;
        self.kernel(&MODULE, "tallow_squares_partial")?
            .arg(wanted(&partial, DType::F64)?)
            .arg(wanted(x, DType::F32)?)
            .arg(n as i64)
            .blocks((parts as u32, 1), THREADS)?;
        self.kernel(&MODULE, "tallow_squares")?
            .arg(wanted(&squares, DType::F32)?)
            .arg(wanted(&partial, DType::F64)?)
            .arg(parts as i32)
            .blocks((1, 1), THREADS)?;
        Ok(squares)
    }
}

/// Two floats, as a struct has them.
fn pair(first: f64, second: f64) -> u64 {
    u64::from((first as f32).to_bits()) | u64::from((second as f32).to_bits()) << 32
}

/// The kernel's struct Constants.
fn constants(step: Step) -> [u64; 4] {
    let super::AdamW { beta1, beta2, eps, .. } = step.adamw;
    [
        pair(beta1, beta2),
        pair(1.0 - beta1, 1.0 - beta2),
        pair(eps, step.second_scale),
        pair(step.gradient_scale, step.max_grad_norm),
    ]
}
