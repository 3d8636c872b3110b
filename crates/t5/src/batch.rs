use std::sync::Arc;

use candle_core::{Device, Tensor};
use tallow_ops::Segments;

use crate::Result;

/// Rows of tokens joined into flat streams, on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The sources' ids (n), u32.
    pub source: Tensor,
    /// Where each source lies.
    pub source_segments: Arc<Segments>,
    /// What the decoder is shown: the labels shifted right behind the start token, (m), u32.
    pub decoder_input: Tensor,
    /// The targets' ids (m), u32.
    pub labels: Tensor,
    /// Where each target lies.
    pub target_segments: Arc<Segments>,
}

impl Batch {
    /// A batch of rows that are already joined: of each side the ids and the rows' bounds, the first 0 and
    /// the last the number of ids. Every row ends with the end token.
    ///
    /// # Errors
    /// If candle cannot make the tensors.
    ///
    /// # Panics
    /// If bounds do not rise, or end past the ids.
    pub fn new(
        source: (&[u32], &[usize]),
        target: (&[u32], &[usize]),
        decoder_start: u32,
        device: &Device,
    ) -> Result<Self> {
        let segments = |bounds: &[usize]| Arc::new(Segments::packed(bounds.windows(2).map(|w| w[1] - w[0])));
        let (labels, bounds) = target;
        let mut shifted = Vec::with_capacity(labels.len());
        for row in bounds.windows(2).filter(|w| w[0] < w[1]) {
            shifted.push(decoder_start);
            shifted.extend_from_slice(&labels[row[0]..row[1] - 1]);
        }
        Ok(Self {
            source: Tensor::new(source.0, device)?,
            source_segments: segments(source.1),
            decoder_input: Tensor::new(shifted, device)?,
            labels: Tensor::new(labels, device)?,
            target_segments: segments(bounds),
        })
    }

    /// The number of target tokens: what the loss is a mean over.
    pub fn target_tokens(&self) -> usize {
        self.labels.elem_count()
    }
}
