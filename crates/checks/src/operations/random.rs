use candle_core::{Device, Shape, Tensor};
use tallow_ops::Randomness;

/// A stream of tensors that a seed fixes.
pub struct Random {
    randomness: Randomness,
    site: u32,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { randomness: Randomness::new(seed, 0, 0), site: 0 }
    }

    fn uniform(&mut self, count: usize) -> impl Iterator<Item = f32> {
        self.site += 1;
        self.randomness.uniform(self.site, count)
    }

    /// Independent values around 0 with this standard deviation, f32, on the CPU.
    pub fn tensor(&mut self, shape: impl Into<Shape>, deviation: f64) -> Tensor {
        let shape = shape.into();
        let half_width = (deviation * 3f64.sqrt()) as f32;
        let values: Vec<f32> =
            self.uniform(shape.elem_count()).map(|u| half_width * (2.0 * u - 1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("there is a value for each element")
    }

    /// Numbers below `end`.
    pub fn ids(&mut self, count: usize, end: u32) -> Vec<u32> {
        self.uniform(count).map(|u| ((u * end as f32) as u32).min(end - 1)).collect()
    }
}
