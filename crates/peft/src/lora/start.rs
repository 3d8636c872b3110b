//! Initial values that are taken out of the weights they adapt.

use candle_core::{DType, Device, Tensor};
use faer::Mat;

use super::LoraStart;
use crate::{Error, Result};

/// A (rank, in) and B (out, rank) for a weight (out, in) that gives s B A away, or none where the method's start does not
/// depend on the weight.
///
/// PiSSA (Meng et al. 2024): W = U S V^T, A = sqrt(S_r / s) V_r^T, B = U_r sqrt(S_r / s). OLoRA (Büyükakyüz 2024):
/// W = Q R, A = R_r, B = Q_r.
pub(super) fn from_weight(
    start: LoraStart,
    weight: &Tensor,
    rank: usize,
    scale: f64,
) -> Result<Option<[Tensor; 2]>> {
    let matrix = || -> Result<Mat<f32>> {
        let rows = weight.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
        Ok(Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j]))
    };
    let (a, b): (Mat<f32>, Mat<f32>) = match start {
        LoraStart::Kaiming | LoraStart::Gaussian => return Ok(None),
        LoraStart::Pissa => {
            let svd = matrix()?.thin_svd().map_err(|_| Error::Svd)?;
            let (u, s, v) = (svd.U(), svd.S(), svd.V());
            let root = |i: usize| (f64::from(s[i]) / scale).sqrt() as f32;
            (
                Mat::from_fn(rank, v.nrows(), |i, j| root(i) * v[(j, i)]),
                Mat::from_fn(u.nrows(), rank, |i, j| u[(i, j)] * root(j)),
            )
        }
        LoraStart::Olora => {
            let qr = matrix()?.qr();
            let (q, r) = (qr.compute_thin_Q(), qr.thin_R());
            (Mat::from_fn(rank, r.ncols(), |i, j| r[(i, j)]), Mat::from_fn(q.nrows(), rank, |i, j| q[(i, j)]))
        }
    };
    let tensor = |m: &Mat<f32>| -> Result<Tensor> {
        let values: Vec<f32> = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
        Ok(Tensor::from_vec(values, (m.nrows(), m.ncols()), &Device::Cpu)?)
    };
    Ok(Some([tensor(&a)?, tensor(&b)?]))
}
