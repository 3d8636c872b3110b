//! Transposed copies, by blocks that lie in registers.

use super::dots::Rows;
use super::{scratch, simd};

const SIDE: usize = 16;

/// A copy of x in which the values of a column follow one another: (cols, rows).
pub(super) fn transposed(x: Rows) -> Vec<f32> {
    let Rows { data, rows, cols, stride } = x;
    let mut copy = scratch(rows * cols);
    simd::run(
        #[inline(always)]
        || {
            for i in (0..rows).step_by(SIDE) {
                for j in (0..cols).step_by(SIDE) {
                    let (height, width) = (SIDE.min(rows - i), SIDE.min(cols - j));
                    if height < SIDE || width < SIDE {
                        for r in i..i + height {
                            for c in j..j + width {
                                copy[c * rows + r] = data[r * stride + c];
                            }
                        }
                        continue;
                    }
                    let mut block = [[0.0; SIDE]; SIDE];
                    for (r, row) in block.iter_mut().enumerate() {
                        row.copy_from_slice(&data[(i + r) * stride + j..][..SIDE]);
                    }
                    for c in 0..SIDE {
                        let column = &mut copy[(j + c) * rows + i..][..SIDE];
                        for r in 0..SIDE {
                            column[r] = block[r][c];
                        }
                    }
                }
            }
        },
    );
    copy
}
