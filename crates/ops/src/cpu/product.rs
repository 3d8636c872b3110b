//! What a product of two matrices is made of, whatever multiplies it: operands, blocks, and what each thread takes.

use rayon::prelude::*;

use super::even;

/// A matrix of lanes (the rows of a, the columns of b) by the inner size: element (lane, i) at `lane * self.lane +
/// i * self.inner`, one of which is 1.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub data: *const f32,
    pub lane: usize,
    pub inner: usize,
}

impl Operand {
    pub fn at(self, lane: usize, inner: usize) -> Self {
        Self { data: self.data.wrapping_add(lane * self.lane + inner * self.inner), ..self }
    }
}

/// y = scale a b, or y += scale a b; y is row-major, its rows `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub y: *mut f32,
    pub stride: usize,
    pub a: Operand,
    pub b: Operand,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: parts write different rows or columns of y.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    /// The product of what begins at this row of a, this inner index, and this column of b. What comes behind the first
    /// inner index is added.
    pub fn at(self, row: usize, inner: usize, column: usize) -> Self {
        Self {
            y: self.y.wrapping_add(row * self.stride + column),
            a: self.a.at(row, inner),
            b: self.b.at(column, inner),
            accumulate: self.accumulate || inner > 0,
            ..self
        }
    }

    /// Has `part` make the product of size (rows, inner, columns) in so many parts along rows and columns at most, each a
    /// whole multiple of `unit` of both.
    pub fn share(
        self,
        [m, k, n]: [usize; 3],
        [along_rows, along_columns]: [usize; 2],
        unit: usize,
        part: impl Fn(Self, [usize; 3]) + Sync,
    ) {
        if along_rows * along_columns <= 1 {
            return part(self, [m, k, n]);
        }
        let cut = |len: usize, parts: usize| blocks(len, len.div_ceil(parts), unit);
        let parts: Vec<_> = cut(m, along_rows)
            .flat_map(|rows| cut(n, along_columns).map(move |columns| (rows, columns)))
            .collect();
        parts.into_par_iter().for_each(|((row, rows), (column, columns))| {
            part(self.at(row, 0, column), [rows, k, columns]);
        });
    }
}

/// Even blocks (first, length), whole multiples of `unit` but for the last; of at most `most`, if it is one.
pub(super) fn blocks(len: usize, most: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = even(len, most).next_multiple_of(unit);
    (0..len).step_by(size).map(move |first| (first, size.min(len - first)))
}
