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
    /// Joins (source, target) rows; both end with the end token.
    ///
    /// # Errors
    /// If candle cannot make the tensors.
    pub fn new<S, T>(rows: &[(S, T)], decoder_start: u32, device: &Device) -> Result<Self>
    where
        S: AsRef<[u32]>,
        T: AsRef<[u32]>,
    {
        let (source, source_segments) = pack(rows.iter().map(|(source, _)| source.as_ref()), device)?;
        let (labels, target_segments) = pack(rows.iter().map(|(_, target)| target.as_ref()), device)?;
        let shifted = rows.iter().flat_map(|(_, target)| {
            let target = target.as_ref();
            let shown = target.split_last().map_or(&[][..], |(_, shown)| shown);
            (!target.is_empty()).then_some(decoder_start).into_iter().chain(shown.iter().copied())
        });
        let decoder_input = Tensor::new(shifted.collect::<Vec<u32>>(), device)?;
        Ok(Self { source, source_segments, decoder_input, labels, target_segments })
    }

    /// The number of target tokens: what the loss is a mean over.
    pub fn target_tokens(&self) -> usize {
        self.labels.elem_count()
    }
}

/// Joins rows of ids into one stream on `device`.
pub(crate) fn pack<'a>(
    rows: impl Iterator<Item = &'a [u32]> + Clone,
    device: &Device,
) -> Result<(Tensor, Arc<Segments>)> {
    let segments = Segments::packed(rows.clone().map(<[u32]>::len));
    let ids: Vec<u32> = rows.flatten().copied().collect();
    Ok((Tensor::new(ids, device)?, Arc::new(segments)))
}
