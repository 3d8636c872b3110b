use candle_core::{D, Tensor};

use super::{Added, Normed, RmsNormKernel};
use crate::composed::{Composed, deliver, wide};
use crate::dropout::dropped;
use crate::{Dest, Result};

impl RmsNormKernel for Composed {
    fn rms_norm(&self, x: &Tensor, added: Option<Added>, weight: &Tensor, eps: f64) -> Result<Normed> {
        let dtype = x.dtype();
        let mut sum = wide(x)?;
        if let Some(Added { value, mask }) = added {
            let value = mask.map_or_else(|| wide(value), |mask| dropped(value, mask))?;
            sum = (sum + value)?;
        }
        let inverse = (sum.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
        let y = sum.broadcast_mul(&inverse)?.broadcast_mul(&wide(weight)?)?.to_dtype(dtype)?;
        let sum = added.is_some().then(|| sum.to_dtype(dtype)).transpose()?;
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
        let (dtype, x) = (dy.dtype(), wide(x)?);
        let dyw = wide(dy)?.broadcast_mul(&wide(weight)?)?;
        let mean = (&dyw * &x)?.mean_keepdim(D::Minus1)?;
        let correction = x.broadcast_mul(&(mean * inverse.powf(3.0)?)?)?;
        deliver(dest, (dyw.broadcast_mul(inverse)? - correction)?, dtype)
    }

    fn rms_norm_backward_weight(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        let dw = (wide(dy)? * wide(x)?.broadcast_mul(inverse)?)?.sum(0)?;
        deliver(dest, dw, dy.dtype())
    }
}
