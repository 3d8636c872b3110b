mod online;
mod stored;

use candle_core::Tensor;

use self::online::Online;
use self::stored::Stored;
use super::{CrossEntropyKernel, CrossEntropyResult, Wanted};
use crate::cpu::gemm::View;
use crate::cpu::{Cpu, even, scratch, tensor, tokens, values};
use crate::{Error, HOST_LOGITS, Result};

impl CrossEntropyKernel for Cpu {
    fn cross_entropy(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        wanted: Wanted,
    ) -> Result<CrossEntropyResult> {
        let ((m, d), (vocabulary, head_d)) = (hidden.dims2()?, head.dims2()?);
        let (x, head, labels) = (values(hidden)?, values(head)?, tokens(labels)?);
        if d != head_d || labels.len() != m {
            let what = format!("hidden ({m}, {d}), head ({vocabulary}, {head_d}), {} labels", labels.len());
            return Err(Error::shape("cross_entropy", what));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= vocabulary) {
            return Err(Error::shape("cross_entropy", format!("label {label} of {vocabulary}")));
        }
        let mut dx = wanted.hidden.then(|| scratch(m * d));
        // A gradient of the head takes final probabilities, and so all logits of some rows at once.
        let mut stored = wanted.head.then(|| Stored::new(&head, d));
        let most = if wanted.head { HOST_LOGITS / vocabulary } else { online::TOKENS };
        // In even chunks: the head is read whole for each.
        let chunk = even(m, most);
        let mut loss = 0.0;
        for (i, labels) in labels.chunks(chunk).enumerate() {
            let rows = i * chunk * d..(i * chunk + labels.len()) * d;
            let hidden = View::new(&x[rows.clone()], labels.len(), d);
            let dx = dx.as_mut().map(|dx| &mut dx[rows]);
            loss += match &mut stored {
                Some(stored) => stored.loss(hidden, labels, smoothing, dx),
                None => Online { hidden, head: &head, labels, smoothing: smoothing as f32 }.loss(dx),
            };
        }
        Ok(CrossEntropyResult {
            loss: tensor(vec![loss as f32], ())?,
            hidden: dx.map(|dx| tensor(dx, (m, d))).transpose()?,
            head: stored.map(|stored| tensor(stored.gradient(), (vocabulary, d))).transpose()?,
        })
    }
}
