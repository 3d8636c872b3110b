use candle_core::Tensor;

use super::ReluKernel;
use crate::composed::{Composed, deliver};
use crate::{Dest, Result};

impl ReluKernel for Composed {
    fn relu(&self, x: &Tensor) -> Result<Tensor> {
        // candle's own turns NaN into 0.
        Ok(x.lt(0.0)?.where_cond(&x.zeros_like()?, x)?)
    }

    fn relu_backward(&self, dest: Dest, dy: &Tensor, y: &Tensor) -> Result<Tensor> {
        deliver(dest, (dy * y.gt(0.0)?.to_dtype(dy.dtype())?)?, dy.dtype())
    }
}
