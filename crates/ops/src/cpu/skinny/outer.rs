//! Products y = a b over rows of b, by adding multiples of them: those of a small inner size, and those of few rows of y
//! over many rows of b.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Output, Rows};
use crate::cpu::gemm::View;

/// Rows of y and vectors to a row that are summed side by side: what the registers of AVX2 hold.
const R: usize = 4;
const C: usize = 3;

/// Rows of b to a pass: they stay in the first-level cache.
const DEPTH: usize = 32;

/// Columns to a task, at least.
const TASK: usize = 256;

/// y = scale a b, or y += scale a b: (a.rows, b.cols), with columns that follow one another.
///
/// # Safety
/// y must have that many rows and columns.
pub(super) unsafe fn product(output: Output, a: View, b: Rows, threads: usize) {
    debug_assert_eq!((output.column, a.cols()), (1, b.rows), "rows of y, and of b");
    let run = |begin: usize, end: usize| pulp::Arch::new().dispatch(Columns { output, a, b, begin, end });
    if threads == 1 {
        return run(0, b.cols);
    }
    let size = b.cols.div_ceil(threads).max(TASK).next_multiple_of(64);
    (0..b.cols.div_ceil(size)).into_par_iter().for_each(|i| run(i * size, b.cols.min((i + 1) * size)));
}

/// Some columns of the product.
struct Columns<'a> {
    output: Output,
    a: View<'a>,
    b: Rows<'a>,
    begin: usize,
    end: usize,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.b.rows == 0 && !self.output.accumulate {
            return self.clear();
        }
        for depth in (0..self.b.rows).step_by(DEPTH) {
            let whole = self.a.rows() / R * R;
            for row in (0..whole).step_by(R) {
                self.rows::<S, R>(simd, row, depth);
            }
            for row in whole..self.a.rows() {
                self.rows::<S, 1>(simd, row, depth);
            }
        }
    }
}

impl Columns<'_> {
    fn clear(&self) {
        for row in 0..self.a.rows() {
            for column in self.begin..self.end {
                // SAFETY: an element of y, this task's own.
                unsafe { *self.output.at(row, column) = 0.0 };
            }
        }
    }

    /// `N` rows of y, from the rows of b of one pass.
    #[inline(always)]
    fn rows<S: Simd, const N: usize>(&self, simd: S, row: usize, depth: usize) {
        let width = size_of::<S::f32s>() / size_of::<f32>();
        let mut column = self.begin;
        while column + C * width <= self.end {
            self.tile::<S, N, C>(simd, row, depth, column);
            column += C * width;
        }
        while column + width <= self.end {
            self.tile::<S, N, 1>(simd, row, depth, column);
            column += width;
        }
        let accumulate = self.output.accumulate || depth > 0;
        for column in column..self.end {
            for row in row..row + N {
                let depths = depth..self.b.rows.min(depth + DEPTH);
                let product: f32 = depths.map(|l| self.a.get(row, l) * self.b.row(l)[column]).sum();
                let place = self.output.at(row, column);
                // SAFETY: an element of y, this task's own.
                unsafe { *place = self.output.scale * product + if accumulate { *place } else { 0.0 } };
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        row: usize,
        depth: usize,
        column: usize,
    ) {
        let width = size_of::<S::f32s>() / size_of::<f32>();
        let accumulate = self.output.accumulate || depth > 0;
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        for l in depth..self.b.rows.min(depth + DEPTH) {
            // SAFETY: V vectors of a row of b.
            let b = &self.b.row(l)[column..][..V * width];
            let (vectors, _) = S::as_simd_f32s(b);
            for n in 0..N {
                let factor = simd.splat_f32s(self.output.scale * self.a.get(row + n, l));
                for v in 0..V {
                    sums[n][v] = simd.mul_add_f32s(factor, vectors[v], sums[n][v]);
                }
            }
        }
        for n in 0..N {
            // SAFETY: V vectors of a row of y, this task's own.
            let y = unsafe { std::slice::from_raw_parts_mut(self.output.at(row + n, column), V * width) };
            let (y, _) = S::as_mut_simd_f32s(y);
            for v in 0..V {
                y[v] = if accumulate { simd.add_f32s(y[v], sums[n][v]) } else { sums[n][v] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_sizes_are_those_of_the_plain_loops() {
        let values = |n: usize| (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>();
        for m in [1, 4, 6, 13] {
            for n in [1, 15, 16, 70, 600] {
                for k in [0, 1, 8, 32, 67] {
                    let (b_stride, y_stride) = (n + 3, n + 2);
                    let (a, b) = (values(m * k), values(k * b_stride));
                    for (transposed, accumulate, threads) in
                        [(false, false, 1), (true, true, 3), (true, false, 1)]
                    {
                        let a = match transposed {
                            false => View::new(&a, m, k),
                            true => View::new(&a, k, m).t(),
                        };
                        let mut y = vec![0.25; m * y_stride];
                        let rows = Rows { data: &b, rows: k, cols: n, stride: b_stride };
                        let (first, row) = (y.as_mut_ptr(), y_stride);
                        let output = Output { first, row, column: 1, scale: 0.5, accumulate };
                        // SAFETY: y has room for all rows.
                        unsafe { product(output, a, rows, threads) };
                        for (at, found) in y.iter().enumerate() {
                            let (i, j) = (at / y_stride, at % y_stride);
                            let sum: f32 =
                                (0..k).map(|l| a.get(i, l) * b.get(l * b_stride + j).unwrap_or(&0.0)).sum();
                            let before = if accumulate || j >= n { 0.25 } else { 0.0 };
                            let wanted = if j < n { before + 0.5 * sum } else { before };
                            assert!((found - wanted).abs() < 1e-4, "{m} {n} {k}: {found} for {wanted}");
                        }
                    }
                }
            }
        }
    }
}
