use candle_core::{DType, Tensor};

use super::{CrossEntropyKernel, CrossEntropyResult, Wanted};
use crate::cuda::{Cuda, Layout, Module, Operand, Product, Size, module, operand, suffix, wanted};
use crate::{Error, Result};

const MODULE: Module = module!("cross_entropy");

/// Threads to a row.
const THREADS: u32 = 512;

impl CrossEntropyKernel for Cuda {
    fn cross_entropy(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        wants: Wanted,
    ) -> Result<CrossEntropyResult> {
        let ((m, d), (vocabulary, head_d)) = (hidden.dims2()?, head.dims2()?);
        if d != head_d || labels.elem_count() != m {
            let what =
                format!("hidden ({m}, {d}), head ({vocabulary}, {head_d}), {} labels", labels.elem_count());
            return Err(Error::shape("cross_entropy", what));
        }
        let (x, labels) = (operand(hidden)?, wanted(labels, DType::U32)?);
        let dtype = x.dtype;
        let weight = Operand { pointer: wanted(head, dtype)?, dtype };
        // Balanced chunks: the head is read whole for each.
        let chunk = m.div_ceil((m * vocabulary).div_ceil(self.settings.logits).max(1)).max(1);
        let logits = self.empty((chunk.min(m), vocabulary), DType::F32)?;
        let slopes = match wants.hidden || wants.head {
            true => Some(self.empty((chunk.min(m), vocabulary), dtype)?),
            false => None,
        };
        let losses = self.empty(m, DType::F32)?;
        let dx = wants.hidden.then(|| self.empty((m, d), dtype)).transpose()?;
        let dhead = match wants.head {
            true if m == 0 => Some(self.zeros((vocabulary, d), DType::F32)?),
            true => Some(self.empty((vocabulary, d), DType::F32)?),
            false => None,
        };
        for start in (0..m).step_by(chunk) {
            let rows = chunk.min(m - start);
            let at = |from: Operand, width: usize| Operand {
                pointer: from.pointer + (start * width * from.dtype.size_in_bytes()) as u64,
                ..from
            };
            let product =
                |size, a, b, stride, accumulate| Product { size, a, b, stride, scale: 1.0, accumulate };
            let size = Size { m: rows, k: d, n: vocabulary };
            let forward = product(size, Layout::plain(d), Layout::t(d), vocabulary, false);
            self.gemm(forward, at(x, d), weight, operand(&logits)?)?;
            self.kernel(&MODULE, &format!("tallow_cross_entropy_{}", suffix(dtype)))?
                .arg(wanted(&losses, DType::F32)? + 4 * start as u64)
                .arg(slopes.as_ref().map_or(Ok(0), |slopes| wanted(slopes, dtype))?)
                .arg(wanted(&logits, DType::F32)?)
                .arg(labels + 4 * start as u64)
                .arg(vocabulary as i32)
                .arg(smoothing as f32)
                .blocks((rows as u32, 1), THREADS)?;
            let Some(slopes) = &slopes else { continue };
            let slopes = operand(slopes)?;
            if let Some(dx) = &dx {
                let size = Size { m: rows, k: vocabulary, n: d };
                let backward = product(size, Layout::plain(vocabulary), Layout::plain(d), d, false);
                self.gemm(backward, slopes, weight, at(operand(dx)?, d))?;
            }
            if let Some(dhead) = &dhead {
                let size = Size { m: vocabulary, k: rows, n: d };
                let backward = product(size, Layout::t(vocabulary), Layout::plain(d), d, start > 0);
                self.gemm(backward, slopes, at(x, d), operand(dhead)?)?;
            }
        }
        let loss = self.empty((), DType::F32)?;
        self.kernel(&MODULE, "tallow_sum_losses")?
            .arg(wanted(&loss, DType::F32)?)
            .arg(wanted(&losses, DType::F32)?)
            .arg(m as i32)
            .blocks((1, 1), THREADS)?;
        Ok(CrossEntropyResult { loss, hidden: dx, head: dhead })
    }
}
