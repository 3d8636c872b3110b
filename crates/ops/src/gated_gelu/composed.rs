use candle_core::Tensor;

use super::GatedGeluKernel;
use crate::Result;
use crate::composed::{Composed, wide};

const C: f64 = 0.797_884_560_802_865_4; // sqrt(2 / pi)
const A: f64 = 0.044_715;

/// tanh(sqrt(2/pi) (x + 0.044715 x^3)).
fn inner(x: &Tensor) -> Result<Tensor> {
    Ok(((x + (x.powf(3.0)? * A)?)? * C)?.tanh()?)
}

impl GatedGeluKernel for Composed {
    fn gated_gelu(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        let (dtype, gate) = (gate.dtype(), wide(gate)?);
        let gelu = ((&gate * 0.5)? * (inner(&gate)? + 1.0)?)?;
        Ok((gelu * wide(up)?)?.to_dtype(dtype)?)
    }

    fn gated_gelu_backward(&self, dy: Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
        let (dtype, dy, gate) = (dy.dtype(), wide(&dy)?, wide(gate)?);
        let tanh = inner(&gate)?;
        let half = ((&tanh + 1.0)? * 0.5)?;
        let slope = ((gate.sqr()? * (3.0 * A))? + 1.0)?;
        let bend = ((&gate * (0.5 * C))? * (tanh.sqr()?.affine(-1.0, 1.0)? * slope)?)?;
        let dgate = ((&dy * wide(up)?)? * (&half + bend)?)?;
        Ok((dgate.to_dtype(dtype)?, (dy * (gate * half)?)?.to_dtype(dtype)?))
    }
}
