use candle_core::Tensor;

use super::{ColumnsKernel, sizes};
use crate::composed::{Composed, deliver, wide};
use crate::{Dest, Result};

impl ColumnsKernel for Composed {
    fn mul_columns(&self, dest: Dest, x: &Tensor, factors: &Tensor, by: Option<&Tensor>) -> Result<Tensor> {
        sizes(x, None, [Some(factors), by])?;
        let mut factors = wide(factors)?;
        if let Some(by) = by {
            factors = (factors * by)?;
        }
        deliver(dest, wide(x)?.broadcast_mul(&factors)?, x.dtype())
    }

    fn add_columns(&self, x: &Tensor, b: &Tensor) -> Result<Tensor> {
        sizes(x, None, [Some(b), None])?;
        deliver(Dest::New, wide(x)?.broadcast_add(&wide(b)?)?, x.dtype())
    }

    fn sum_columns(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: Option<&Tensor>,
        by: Option<&Tensor>,
        over: Option<&Tensor>,
    ) -> Result<Tensor> {
        sizes(dy, x, [by, over])?;
        let mut product = wide(dy)?;
        if let Some(x) = x {
            product = (product * wide(x)?)?;
        }
        let mut sum = product.sum(0)?;
        if let Some(by) = by {
            sum = (sum * by)?;
        }
        if let Some(over) = over {
            let (over, zeros) = (wide(over)?, sum.zeros_like()?);
            sum = over.ne(&zeros)?.where_cond(&(sum / over)?, &zeros)?;
        }
        deliver(dest, sum, dy.dtype())
    }
}
