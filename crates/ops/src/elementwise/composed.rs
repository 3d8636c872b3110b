use candle_core::Tensor;

use super::ElementwiseKernel;
use crate::composed::{Composed, deliver, wide};
use crate::{Dest, Result};

impl ElementwiseKernel for Composed {
    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        self.add(Dest::New, x, factor)
    }

    fn add(&self, dest: Dest, x: &Tensor, factor: f64) -> Result<Tensor> {
        deliver(dest, wide(x)?.affine(factor, 0.0)?, x.dtype())
    }

    fn add_scaled(&self, dest: Dest, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
        deliver(dest, wide(x)?.broadcast_mul(&wide(&factor.reshape(())?)?)?, x.dtype())
    }
}
