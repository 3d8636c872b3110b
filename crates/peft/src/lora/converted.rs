//! LoRA that has taken a part out of its base's weights, as a plain LoRA for the whole base.

use candle_core::Tensor;

use crate::Result;
use crate::file::{Layout, Plain, Stored};

/// [A; A0] and [B, -B0] for each layer, of twice the rank: s B A - s B0 A0 is what the base, with all its weights, lacks.
pub(super) struct Converted {
    /// As it is trained: for each layer A, then B, then whatever else there is.
    pub plain: Plain,
    /// A0 and B0 of each layer.
    pub taken: Vec<[Tensor; 2]>,
}

impl Layout for Converted {
    fn stored(&self) -> Vec<Stored> {
        let mut stored = self.plain.stored();
        for pair in stored.chunks_exact_mut(2).take(self.taken.len()) {
            pair[0].1[0] *= 2;
            pair[1].1[1] *= 2;
        }
        stored
    }

    fn trained(&self, _stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
        unreachable!("an adapter from a file is a plain LoRA")
    }

    fn written(&self, trained: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut written = self.plain.written(trained)?;
        for (pair, [a, b]) in written.chunks_exact_mut(2).zip(&self.taken) {
            let device = pair[0].device().clone();
            pair[0] = Tensor::cat(&[&pair[0], &a.to_device(&device)?], 0)?;
            pair[1] = Tensor::cat(&[&pair[1], &b.neg()?.to_device(&device)?], 1)?;
        }
        Ok(written)
    }
}
