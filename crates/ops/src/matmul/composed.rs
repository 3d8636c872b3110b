use candle_core::Tensor;

use super::{MatmulKernel, Matrix};
use crate::composed::{Composed, deliver};
use crate::{Dest, Result};

impl MatmulKernel for Composed {
    fn matmul(&self, dest: Dest, a: Matrix, b: Matrix, scale: f64) -> Result<Tensor> {
        let view = |m: Matrix| if m.transposed { m.tensor.t() } else { Ok(m.tensor.clone()) };
        let product = view(a)?.matmul(&view(b)?)?;
        deliver(dest, if scale == 1.0 { product } else { (product * scale)? })
    }
}
