use candle_core::{D, DType, Tensor};

use super::{CrossEntropyKernel, CrossEntropyResult, Wanted};
use crate::composed::{Composed, wide};
use crate::{Error, Result};

/// Rows whose logits exist at a time.
const CHUNK: usize = 128;

impl CrossEntropyKernel for Composed {
    fn cross_entropy(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        wanted: Wanted,
    ) -> Result<CrossEntropyResult> {
        let ((m, _), vocabulary) = (hidden.dims2()?, head.dim(0)?);
        if labels.dims() != [m] {
            return Err(Error::shape("cross_entropy", format!("{m} rows, labels {:?}", labels.dims())));
        }
        let mut loss = Tensor::zeros((), DType::F32, hidden.device())?;
        let mut dhidden = Vec::new();
        let mut dhead =
            wanted.head.then(|| Tensor::zeros(head.shape(), DType::F32, head.device())).transpose()?;
        for start in (0..m).step_by(CHUNK) {
            let rows = CHUNK.min(m - start);
            let x = hidden.narrow(0, start, rows)?;
            let labels = labels.narrow(0, start, rows)?.reshape((rows, 1))?;
            let logits = wide(&x.matmul(&head.t()?)?)?;
            let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
            let log_p = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
            let picked = log_p.gather(&labels, 1)?.sum_all()?;
            let spread = log_p.mean_keepdim(D::Minus1)?.sum_all()?;
            loss = (loss - ((picked * (1.0 - smoothing))? + (spread * smoothing)?)?)?;
            if !wanted.hidden && !wanted.head {
                continue;
            }
            let ones = Tensor::ones((rows, 1), DType::F32, hidden.device())?;
            let target = log_p.zeros_like()?.scatter_add(&labels, &ones, 1)?;
            let target = ((target * (1.0 - smoothing))? + smoothing / vocabulary as f64)?;
            let dlogits = (log_p.exp()? - target)?;
            if wanted.hidden {
                dhidden.push(dlogits.to_dtype(head.dtype())?.matmul(head)?);
            }
            if let Some(dhead) = &mut dhead {
                *dhead = (&*dhead + dlogits.t()?.contiguous()?.matmul(&wide(&x)?)?)?;
            }
        }
        let dhidden = match (wanted.hidden, dhidden.is_empty()) {
            (false, _) => None,
            (true, true) => Some(hidden.zeros_like()?),
            (true, false) => Some(Tensor::cat(&dhidden, 0)?),
        };
        Ok(CrossEntropyResult { loss, hidden: dhidden, head: dhead })
    }
}
