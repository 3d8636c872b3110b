//! DARE: drop at random, and scale what is left. Yu et al. 2023.

use candle_core::{Device, Tensor};
use tallow_ops::Randomness;

use crate::Result;

/// What is dropped of a layer's matrices.
pub(super) struct Drop {
    /// The part that is kept.
    pub density: f64,
    pub randomness: Randomness,
    /// The layer's number.
    pub layer: u32,
}

/// Matrices of a layer that are told apart: A, B and the update of each adapter, and as many adapters as anyone has.
const MATRICES: u32 = 3;
const ADAPTERS: u32 = 1 << 10;

impl Drop {
    /// Each value with probability `density`, divided by it; zeros for the others. The values dropped of two adapters, or
    /// of two matrices, do not depend on each other.
    pub fn each(&mut self, values: &[Tensor], matrix: u32) -> Result<Vec<Tensor>> {
        let dropped = values.iter().zip(0..).map(|(value, adapter): (&Tensor, u32)| {
            let site = (self.layer * MATRICES + matrix) * ADAPTERS + adapter;
            let drawn = self.randomness.uniform(site, value.elem_count());
            let kept = value.flatten_all()?.to_vec1::<f32>()?.into_iter().zip(drawn);
            let kept = kept.map(|(value, u)| match f64::from(u) < self.density {
                true => (f64::from(value) / self.density) as f32,
                false => 0.0,
            });
            Ok(Tensor::from_vec(kept.collect::<Vec<f32>>(), value.shape(), &Device::Cpu)?)
        });
        dropped.collect()
    }
}
