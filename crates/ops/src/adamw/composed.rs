use candle_core::{DType, Tensor};

use super::{AdamWKernel, Buffers, Range, Step};
use crate::composed::Composed;
use crate::{Result, number};

impl AdamWKernel for Composed {
    fn adamw(&self, buffers: Buffers, ranges: &[Range], step: Step) -> Result<()> {
        let Buffers { state, gradients, squares, compute } = buffers;
        let n = gradients.elem_count();
        let super::AdamW { beta1, beta2, eps, .. } = step.adamw;
        let factor = step.factor(number(squares)?);
        for range in ranges {
            let Some(factor) = factor else { break };
            let len = range.end - range.start;
            let third = |i: usize| state.narrow(0, i * n + range.start, len);
            let g = (gradients.narrow(0, range.start, len)? * factor)?;
            let m = ((third(1)? * beta1)? + (&g * (1.0 - beta1))?)?;
            let v = ((third(2)? * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
            let change = ((&m * range.rate)? / ((v.sqrt()? * step.second_scale)? + eps)?)?;
            let p = ((third(0)? * range.keep)? - change)?;
            for (i, value) in [&p, &m, &v].into_iter().enumerate() {
                state.slice_set(value, 0, i * n + range.start)?;
            }
            if let Some(compute) = compute {
                compute.slice_set(&p.to_dtype(compute.dtype())?, 0, range.start)?;
            }
        }
        Ok(gradients.slice_set(&gradients.zeros_like()?, 0, 0)?)
    }

    fn sum_of_squares(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.to_dtype(DType::F32)?.sqr()?.sum_all()?)
    }
}
