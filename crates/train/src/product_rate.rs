//! How fast large matrix products run now: the measure of a step's products.

use candle_core::{DType, Tensor};
use tallow_ops::{Dest, Matrix};

use crate::{Engine, Result};

/// Rows and columns of a product on each thread of a CPU: large enough that packing its operands is nothing beside it.
const HOST_SIZE: usize = 1024;
/// The same for a device.
const DEVICE_SIZE: usize = 4096;
const REPEATS: usize = 2;

impl Engine {
    /// The floating-point operations a second of large square products of this type: one on each thread that rows are
    /// dealt to, all at the same time, or one on all of them.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn product_rate(&self, dtype: DType) -> Result<f64> {
        let size = if self.kernels().device().is_cpu() { HOST_SIZE } else { DEVICE_SIZE };
        let rate = || {
            let (kernels, clock) = (self.kernels(), self.kernels().clock());
            let x = Tensor::rand(-1f32, 1f32, (size, size), kernels.device())?.to_dtype(dtype)?;
            let product = |dest: Dest| {
                Ok::<_, crate::Error>(kernels.matmul(dest, Matrix::new(&x), Matrix::t(&x), 1.0)?)
            };
            // The first one takes the memory.
            let y = product(Dest::New)?;
            let start = clock.mark();
            for _ in 0..REPEATS {
                product(Dest::Add(y.clone()))?;
            }
            let seconds = clock.between(&start, &clock.mark()).as_secs_f64();
            Ok((2 * REPEATS * size.pow(3)) as f64 / seconds)
        };
        match self.threads() {
            1 => self.on_all(rate),
            _ => Ok(self.each_thread(rate)?.into_iter().sum()),
        }
    }
}
