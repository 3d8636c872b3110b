use candle_core::{DType, Tensor};

use super::{AdamWKernel, Range, Step};
use crate::Result;
use crate::composed::Composed;

impl AdamWKernel for Composed {
    fn adamw(&self, state: &Tensor, gradients: &Tensor, ranges: &[Range], step: Step) -> Result<()> {
        let n = gradients.elem_count();
        let super::AdamW { beta1, beta2, eps, .. } = step.adamw;
        for range in ranges {
            let len = range.end - range.start;
            let third = |i: usize| state.narrow(0, i * n + range.start, len);
            let g = (gradients.narrow(0, range.start, len)? * step.gradient_scale)?;
            let m = ((third(1)? * beta1)? + (&g * (1.0 - beta1))?)?;
            let v = ((third(2)? * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
            let change = ((&m * range.rate)? / ((v.sqrt()? * step.second_scale)? + eps)?)?;
            let p = ((third(0)? * range.keep)? - change)?;
            for (i, value) in [p, m, v].iter().enumerate() {
                state.slice_set(value, 0, i * n + range.start)?;
            }
        }
        Ok(gradients.slice_set(&gradients.zeros_like()?, 0, 0)?)
    }

    fn sum_of_squares(&self, x: &Tensor) -> Result<f64> {
        let sum = x.to_dtype(DType::F32)?.sqr()?.sum_all()?;
        Ok(f64::from(sum.to_scalar::<f32>()?))
    }
}
