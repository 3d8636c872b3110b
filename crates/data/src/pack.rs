//! Rows of tokens as one flat stream.

/// A batch without padding: the rows' ids behind each other, and where each row starts and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// All ids, `(total tokens)`.
    pub ids: Vec<u32>,
    /// `(rows + 1)` offsets into `ids`, ascending, from 0 to the total (`cu_seqlens`): row `i` is
    /// `ids[bounds[i]..bounds[i + 1]]`.
    pub bounds: Vec<usize>,
}

impl Packed {
    /// Packs rows in the order given.
    ///
    /// ```
    /// let packed = tallow_data::Packed::new([vec![7, 8, 1], vec![9, 1]]);
    /// assert_eq!(packed.ids, [7, 8, 1, 9, 1]);
    /// assert_eq!(packed.bounds, [0, 3, 5]);
    /// ```
    pub fn new(rows: impl IntoIterator<Item = impl AsRef<[u32]>>) -> Self {
        let mut packed = Self { ids: Vec::new(), bounds: vec![0] };
        for row in rows {
            packed.ids.extend_from_slice(row.as_ref());
            packed.bounds.push(packed.ids.len());
        }
        packed
    }

    /// The rows again, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.bounds.windows(2).map(|bound| &self.ids[bound[0]..bound[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_loses_nothing(rows in vec(vec(any::<u32>(), 0..9), 0..20)) {
            let packed = Packed::new(&rows);
            prop_assert_eq!(packed.bounds.len(), rows.len() + 1);
            prop_assert_eq!((packed.bounds[0], packed.bounds[rows.len()]), (0, packed.ids.len()));
            prop_assert_eq!(packed.rows().map(<[u32]>::to_vec).collect::<Vec<_>>(), rows);
        }
    }
}
