use std::ops::Range;

/// Where each row of a batch lies in a flat stream of tokens.
///
/// Rows of a packed batch follow one another without gaps; the keys of a generation cache lie in places
/// with room to grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments(Vec<Range<usize>>);

impl Segments {
    /// Rows that follow one another, from their lengths.
    pub fn packed(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut end = 0;
        Self(
            lengths
                .into_iter()
                .map(|length| {
                    end += length;
                    end - length..end
                })
                .collect(),
        )
    }

    /// Rows that lie in the given places. Only keys that receive no gradient may overlap.
    pub fn at(ranges: Vec<Range<usize>>) -> Self {
        Self(ranges)
    }

    /// The rows' places, in order.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tokens of the longest row.
    pub fn longest(&self) -> usize {
        self.0.iter().map(Range::len).max().unwrap_or(0)
    }

    /// Rows that follow one another, each `n` longer.
    #[must_use]
    pub fn longer_by(&self, n: usize) -> Self {
        Self::packed(self.0.iter().map(|range| range.len() + n))
    }

    /// Whether they follow one another without gaps, from the first token on.
    pub(crate) fn follow_one_another(&self) -> bool {
        let mut end = 0;
        self.0.iter().all(|range| {
            let follows = range.start == end;
            end = range.end;
            follows
        })
    }

    /// Whether no token belongs to two rows.
    pub(crate) fn disjoint(&self) -> bool {
        let mut ranges: Vec<_> = self.0.iter().filter(|range| !range.is_empty()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.is_sorted_by(|a, b| a.end <= b.start)
    }

    /// One past the last token of any row.
    pub fn end(&self) -> usize {
        self.0.iter().map(|range| range.end).max().unwrap_or(0)
    }
}
