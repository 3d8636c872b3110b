use candle_core::Tensor;
use rayon::prelude::*;

use super::{DropoutKernel, Mask};
use crate::composed::{Composed, deliver, wide};
use crate::{Dest, Result};

impl DropoutKernel for Composed {
    fn dropout(&self, dest: Dest, x: &Tensor, mask: Mask) -> Result<Tensor> {
        deliver(dest, dropped(x, mask)?, x.dtype())
    }
}

/// mask x, in f32.
pub(crate) fn dropped(x: &Tensor, mask: Mask) -> Result<Tensor> {
    let factors: Vec<f32> = (0..x.elem_count() as u32).into_par_iter().map(|i| mask.factor(i)).collect();
    let factors = Tensor::from_vec(factors, x.shape(), x.device())?;
    Ok((wide(x)? * factors)?)
}
