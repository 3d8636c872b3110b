//! Products of few rows with a transposed matrix, y = x W^T, by dot products: those of generation, a token a row, and
//! those of an adapter's A. They are bound by reading W, which is read once, as it lies.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// More rows of x are faster through a general product, which packs W; so are shorter dot products.
pub(super) const MOST_ROWS: usize = 48;
pub(super) const LEAST_DEPTH: usize = 128;

/// Rows of W to a task, at least.
const TASK: usize = 32;

/// Rows of x and of W whose products are summed side by side: what the registers of AVX2 hold.
const X: usize = 4;
const W: usize = 3;

/// A row-major matrix within a slice.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..self.cols]
    }
}

/// The output, element (i, j) at `i * row + j * column`, of which every task writes columns of its own.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub first: *mut f32,
    pub row: usize,
    pub column: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: tasks write different columns.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    pub fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// y = scale x W^T, or y += scale x W^T: (x.rows, w.rows).
///
/// # Safety
/// y must have that many rows and columns, valid for reads and writes, and nothing else may touch them meanwhile.
pub(super) unsafe fn product(output: Output, x: Rows, w: Rows, threads: usize) {
    assert_eq!(x.cols, w.cols, "the inner sizes of a product");
    let run = |begin: usize, end: usize| pulp::Arch::new().dispatch(Columns { output, x, w, begin, end });
    if threads == 1 {
        return run(0, w.rows);
    }
    // In whole tiles, a few to a thread, since threads are not equally fast.
    let size = w.rows.div_ceil(4 * threads).max(TASK).next_multiple_of(W);
    (0..w.rows.div_ceil(size)).into_par_iter().for_each(|i| run(i * size, w.rows.min((i + 1) * size)));
}

/// Some columns of the product: those of rows `begin..end` of W.
struct Columns<'a> {
    output: Output,
    x: Rows<'a>,
    w: Rows<'a>,
    begin: usize,
    end: usize,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let whole = self.begin + (self.end - self.begin) / W * W;
        for column in (self.begin..whole).step_by(W) {
            self.column::<S, W>(simd, column);
        }
        for column in whole..self.end {
            self.column::<S, 1>(simd, column);
        }
    }
}

impl Columns<'_> {
    /// `C` columns of y, all rows.
    #[inline(always)]
    fn column<S: Simd, const C: usize>(&self, simd: S, column: usize) {
        let whole = self.x.rows / X * X;
        for row in (0..whole).step_by(X) {
            self.tile::<S, X, C>(simd, row, column);
        }
        match self.x.rows - whole {
            3 => self.tile::<S, 3, C>(simd, whole, column),
            2 => self.tile::<S, 2, C>(simd, whole, column),
            1 => self.tile::<S, 1, C>(simd, whole, column),
            _ => {}
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(&self, simd: S, row: usize, column: usize) {
        let x: [&[f32]; R] = std::array::from_fn(|r| self.x.row(row + r));
        let w: [&[f32]; C] = std::array::from_fn(|c| self.w.row(column + c));
        let (x, x_rest) = split::<S, R>(x);
        let (w, w_rest) = split::<S, C>(w);
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for i in 0..x[0].len() {
            // SAFETY: all rows have `cols` values, and so as many vectors.
            let (x, w) = unsafe { (x.map(|x| *x.get_unchecked(i)), w.map(|w| *w.get_unchecked(i))) };
            for r in 0..R {
                for c in 0..C {
                    sums[r][c] = simd.mul_add_f32s(x[r], w[c], sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                let rest: f32 = x_rest[r].iter().zip(w_rest[c]).map(|(x, w)| x * w).sum();
                let product = self.output.scale * (simd.reduce_sum_f32s(sums[r][c]) + rest);
                let place = (row + r) * self.output.row + (column + c) * self.output.column;
                let place = self.output.first.wrapping_add(place);
                // SAFETY: the caller answers for y, and this task alone writes the column.
                unsafe { *place = if self.output.accumulate { *place + product } else { product } };
            }
        }
    }
}

/// Rows as vectors, and what is left of them.
#[inline(always)]
fn split<S: Simd, const N: usize>(rows: [&[f32]; N]) -> ([&[S::f32s]; N], [&[f32]; N]) {
    let split = rows.map(|row| S::as_simd_f32s(row));
    (split.map(|(vectors, _)| vectors), split.map(|(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_sizes_are_those_of_the_plain_loops() {
        let values = |n: usize| (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>();
        for m in [1, 2, 3, 4, 7, 13] {
            for n in [1, 2, 3, 7, 200] {
                for k in [1, 7, 8, 67] {
                    // Wider than what is read and written.
                    let (x_stride, w_stride, y_stride) = (k + 3, k + 1, n + 2);
                    let (x, w) = (values(m * x_stride), values(n * w_stride));
                    let dot = |i: usize, j: usize| -> f32 {
                        (0..k).map(|l| x[i * x_stride + l] * w[j * w_stride + l]).sum()
                    };
                    for (accumulate, threads) in [(false, 1), (true, 3)] {
                        let mut y = vec![0.25; m * y_stride];
                        let (first, row) = (y.as_mut_ptr(), y_stride);
                        let output = Output { first, row, column: 1, scale: 0.5, accumulate };
                        let x = Rows { data: &x, rows: m, cols: k, stride: x_stride };
                        let w = Rows { data: &w, rows: n, cols: k, stride: w_stride };
                        // SAFETY: y has room for all rows.
                        unsafe { product(output, x, w, threads) };
                        for (at, found) in y.iter().enumerate() {
                            let (i, j) = (at / y_stride, at % y_stride);
                            let before = if accumulate || j >= n { 0.25 } else { 0.0 };
                            let wanted = if j < n { before + 0.5 * dot(i, j) } else { before };
                            assert!((found - wanted).abs() < 1e-4, "{m} {n} {k}: {found} for {wanted}");
                        }
                    }
                }
            }
        }
    }
}
