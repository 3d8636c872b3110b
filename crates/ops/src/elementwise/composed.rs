use candle_core::Tensor;

use super::ElementwiseKernel;
use crate::composed::{Composed, deliver};
use crate::{Dest, Result};

impl ElementwiseKernel for Composed {
    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        Ok(x.affine(factor, 0.0)?)
    }

    fn add(&self, dest: Dest, x: &Tensor, factor: f64) -> Result<Tensor> {
        deliver(dest, x.affine(factor, 0.0)?)
    }

    fn add_scaled(&self, dest: Dest, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
        deliver(dest, x.broadcast_mul(&factor.reshape(())?)?)
    }
}
