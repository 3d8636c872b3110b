use candle_core::{D, Tensor};

use super::RmsNormKernel;
use crate::composed::{Composed, deliver};
use crate::{Dest, Result};

impl RmsNormKernel for Composed {
    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
        let inverse = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
        Ok((x.broadcast_mul(&inverse)?.broadcast_mul(weight)?, inverse))
    }

    fn rms_norm_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        let dyw = dy.broadcast_mul(weight)?;
        let mean = (&dyw * x)?.mean_keepdim(D::Minus1)?;
        let correction = x.broadcast_mul(&(mean * inverse.powf(3.0)?)?)?;
        deliver(dest, (dyw.broadcast_mul(inverse)? - correction)?)
    }

    fn rms_norm_backward_weight(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        deliver(dest, (dy * x.broadcast_mul(inverse)?)?.sum(0)?)
    }
}
