//! The best approximation of a matrix at a rank.

use candle_core::{Device, Tensor};
use faer::Mat;

use crate::{Error, Result};

/// A (rank, in) and B (out, rank) for an update (out, in) = U S V^T: A = V_r^T, B = U_r S_r, as in peft. A rank past the
/// matrix's own gives as many as there are.
pub(super) fn cut(update: &Tensor, rank: usize) -> Result<[Tensor; 2]> {
    let rows = update.to_vec2::<f32>()?;
    let matrix = Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j]);
    let svd = matrix.thin_svd().map_err(|_| Error::Svd)?;
    let (u, s, v) = (svd.U(), svd.S(), svd.V());
    let rank = rank.min(u.ncols());
    let tensor = |rows: usize, columns: usize, value: &dyn Fn(usize, usize) -> f32| -> Result<Tensor> {
        let values: Vec<f32> = (0..rows).flat_map(|i| (0..columns).map(move |j| value(i, j))).collect();
        Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
    };
    Ok([tensor(rank, v.nrows(), &|i, j| v[(j, i)])?, tensor(u.nrows(), rank, &|i, j| u[(i, j)] * s[j])?])
}
