//! TIES: trim, elect signs, merge what agrees. Yadav et al. 2023, as peft computes it: signs are elected without weights,
//! and what agrees is divided by how many agree.

use candle_core::{Device, Tensor};

use crate::Result;

/// The values of largest magnitude, that part of all; zeros for the others.
pub(super) fn trimmed(value: &Tensor, density: f64) -> Result<Tensor> {
    let mut values = value.flatten_all()?.to_vec1::<f32>()?;
    let kept = (density * values.len() as f64) as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Of equal magnitudes the first are kept.
    order.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()));
    order.into_iter().skip(kept).for_each(|i| values[i] = 0.0);
    Ok(Tensor::from_vec(values, value.shape(), &Device::Cpu)?)
}

/// For each place the mean, by weights, of the values whose sign is that of all values' sum.
pub(super) fn merged(values: &[Tensor], weights: &[f64]) -> Result<Tensor> {
    let all = values.iter().map(|value| Ok(value.flatten_all()?.to_vec1::<f32>()?));
    let all = all.collect::<Result<Vec<_>>>()?;
    let merged: Vec<f32> = (0..all[0].len())
        .map(|i| {
            let sum: f32 = all.iter().map(|values| values[i]).sum();
            let agrees = |value: f32| if sum >= 0.0 { value > 0.0 } else { value < 0.0 };
            let agreeing = || all.iter().zip(weights).filter(|(values, _)| agrees(values[i]));
            let total: f32 = agreeing().map(|(values, weight)| values[i] * *weight as f32).sum();
            total / agreeing().count().max(1) as f32
        })
        .collect();
    Ok(Tensor::from_vec(merged, values[0].shape(), &Device::Cpu)?)
}
