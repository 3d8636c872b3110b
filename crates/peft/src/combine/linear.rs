//! Weighted sums.

use candle_core::Tensor;

use crate::Result;

/// The sum of matrices of one shape, each by its weight.
pub(super) fn sum(values: &[Tensor], weights: &[f64]) -> Result<Tensor> {
    let mut sum = values[0].zeros_like()?;
    for (value, weight) in values.iter().zip(weights) {
        sum = (sum + (value * *weight)?)?;
    }
    Ok(sum)
}
