//! Transposed copies, by blocks that lie in registers.

use super::dots::Rows;
use super::scratch;
use super::simd::fetch;

const SIDE: usize = 8;

/// A copy of x in which the values of a column follow one another: (cols, rows).
pub(super) fn transposed(x: Rows) -> Vec<f32> {
    let Rows { data, rows, cols, stride } = x;
    assert!(rows == 0 || data.len() >= (rows - 1) * stride + cols, "rows lie within their slice");
    let mut copy = scratch(rows * cols);
    // SAFETY: the rows lie in their slice, and the copy has room for them.
    unsafe { transpose(data.as_ptr(), stride, [rows, cols], copy.as_mut_ptr(), rows) };
    copy
}

/// Row i of `from` to column i of `to`.
///
/// # Safety
/// `from` must be valid for reads of rows `stride` apart, and `to` for writes of as many columns, its rows `to_stride`
/// apart.
pub(super) unsafe fn transpose(
    from: *const f32,
    stride: usize,
    size: [usize; 2],
    to: *mut f32,
    to_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if pulp::x86::V3::is_available() {
        // SAFETY: the caller's; AVX2 is there.
        return unsafe { avx2::transpose(from, stride, size, to, to_stride) };
    }
    // SAFETY: the caller's.
    unsafe {
        blocks(from, stride, size, to, to_stride, |from, to| each(from, stride, [SIDE; 2], to, to_stride));
    }
}

/// Whole blocks by `block`, what is left of them value by value.
///
/// # Safety
/// As for [`transpose`].
#[inline(always)]
unsafe fn blocks(
    from: *const f32,
    stride: usize,
    [rows, cols]: [usize; 2],
    to: *mut f32,
    to_stride: usize,
    block: impl Fn(*const f32, *mut f32),
) {
    // Two blocks fill a line of the copy.
    for pair in (0..rows).step_by(2 * SIDE) {
        for j in (0..cols).step_by(SIDE) {
            if j.is_multiple_of(2 * SIDE) {
                // The rows that come next: each is too short for the hardware to foresee.
                for row in pair + 2 * SIDE..pair + 4 * SIDE {
                    fetch::<2>(from.wrapping_add(row * stride + j));
                }
            }
            for i in (pair..rows.min(pair + 2 * SIDE)).step_by(SIDE) {
                let size = [SIDE.min(rows - i), SIDE.min(cols - j)];
                // SAFETY: the caller's.
                unsafe {
                    let (from, to) = (from.add(i * stride + j), to.add(j * to_stride + i));
                    match size {
                        [SIDE, SIDE] => block(from, to),
                        _ => each(from, stride, size, to, to_stride),
                    }
                }
            }
        }
    }
}

/// Value by value.
///
/// # Safety
/// As for [`transpose`].
#[inline(always)]
unsafe fn each(from: *const f32, stride: usize, [rows, cols]: [usize; 2], to: *mut f32, to_stride: usize) {
    for j in 0..cols {
        for i in 0..rows {
            // SAFETY: the caller's.
            unsafe { *to.add(j * to_stride + i) = *from.add(i * stride + j) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm_loadu_ps, _mm256_castps128_ps256, _mm256_insertf128_ps, _mm256_shuffle_ps,
        _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };

    use super::blocks;

    /// # Safety
    /// As for [`super::transpose`], and AVX2 must be there.
    #[target_feature(enable = "avx2")]
    pub unsafe fn transpose(
        from: *const f32,
        stride: usize,
        size: [usize; 2],
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            blocks(from, stride, size, to, to_stride, |from, to| block(from, stride, to, to_stride));
        }
    }

    /// A block of 8 x 8.
    ///
    /// # Safety
    /// As for [`super::transpose`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn block(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for half in 0..2 {
            // Four values of rows i and i + 4: what is left are shuffles within the halves of vectors.
            let [a, b, c, d]: [__m256; 4] = std::array::from_fn(|i| {
                // SAFETY: the caller's.
                unsafe {
                    let row = from.add(i * stride + half * 4);
                    let low = _mm256_castps128_ps256(_mm_loadu_ps(row));
                    _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(row.add(4 * stride)))
                }
            });
            let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let columns = [
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xee>(ab, cd),
                _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
            ];
            for (j, column) in columns.into_iter().enumerate() {
                // SAFETY: the caller's.
                unsafe { _mm256_storeu_ps(to.add((half * 4 + j) * to_stride), column) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        for (rows, cols) in [(1, 1), (8, 8), (7, 9), (24, 16), (33, 50), (0, 3)] {
            let stride = cols + 3;
            let data: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
            let copy = transposed(Rows { data: &data, rows, cols, stride });
            for i in 0..rows {
                for j in 0..cols {
                    assert_eq!(copy[j * rows + i], data[i * stride + j], "({i}, {j}) of {rows} x {cols}");
                }
            }
        }
    }
}
