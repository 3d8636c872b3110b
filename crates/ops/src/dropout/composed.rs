use candle_core::Tensor;

use super::{DropoutKernel, Mask};
use crate::composed::{Composed, deliver};
use crate::{Dest, Result};

impl DropoutKernel for Composed {
    fn dropout(&self, dest: Dest, x: &Tensor, mask: Mask) -> Result<Tensor> {
        let factors: Vec<f32> = (0..x.elem_count() as u32).map(|i| mask.factor(i)).collect();
        let factors = Tensor::from_vec(factors, x.shape(), x.device())?;
        deliver(dest, (x * factors)?)
    }
}
