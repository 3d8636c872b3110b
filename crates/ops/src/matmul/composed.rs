use candle_core::{DType, Tensor};

use super::{MatmulKernel, Matrix};
use crate::composed::{Composed, deliver, wide};
use crate::{Dest, Result};

impl MatmulKernel for Composed {
    fn matmul(&self, dest: Dest, a: Matrix, b: Matrix, scale: f64) -> Result<Tensor> {
        let dtype = a.tensor.dtype();
        // What gathers in f32 is not rounded on the way.
        let gathers = matches!(&dest, Dest::Add(sum) if sum.dtype() == DType::F32);
        let view = |m: Matrix| -> Result<Tensor> {
            let tensor = if gathers { wide(m.tensor)? } else { m.tensor.clone() };
            Ok(if m.transposed { tensor.t()? } else { tensor })
        };
        let product = view(a)?.matmul(&view(b)?)?;
        let product = if scale == 1.0 { product } else { (wide(&product)? * scale)? };
        deliver(dest, product, dtype)
    }
}
