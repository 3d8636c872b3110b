use std::sync::Arc;

use tallow_ops::Segments;

/// A flat stream's rows: where each lies, and which row of the caller's it is.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The rows' places.
    pub segments: Arc<Segments>,
    /// The caller's number of each row; none where nobody asks for it, as in training.
    pub rows: Option<Arc<[usize]>>,
}

impl Stream {
    /// Rows of these numbers.
    pub fn numbered(segments: Arc<Segments>, rows: Arc<[usize]>) -> Self {
        Self { segments, rows: Some(rows) }
    }

    /// The same rows with `tokens` more before each.
    pub(crate) fn longer_by(&self, tokens: usize) -> Self {
        Self { segments: Arc::new(self.segments.longer_by(tokens)), rows: self.rows.clone() }
    }
}

impl From<&Arc<Segments>> for Stream {
    fn from(segments: &Arc<Segments>) -> Self {
        Self { segments: segments.clone(), rows: None }
    }
}

impl From<&Stream> for Stream {
    fn from(stream: &Stream) -> Self {
        stream.clone()
    }
}
