//! Products of f32 matrices on the tile units (AMX) of Intel's server CPUs since Sapphire Rapids.
//!
//! The units multiply bf16 and add in f32. A float is the sum of three bf16 values ([`pack`]); of the nine products of
//! two floats' parts, the six greatest leave out less than f32 rounds off (Henry, Tang and Heinecke 2019, "Leveraging
//! the bfloat16 artificial intelligence datatype for higher-precision computations"). Six products at sixteen times the
//! rate of AVX-512 are the faster ones.

mod pack;
mod tile;

use std::cell::RefCell;
use std::sync::LazyLock;

use rayon::prelude::*;

use self::pack::{Format, Line, PANEL_STEP, STEP, pack};
use self::tile::{SIDE, Tiles};

pub(super) use self::pack::Operand;

/// Values of the inner size to a block, columns of b to a block: the packed block of b stays in the second-level cache.
const DEPTH: usize = 512;
const COLUMNS: usize = 256;
/// Rows of a that are packed at a time.
const ROWS: usize = 1024;

/// Sizes (rows, inner, columns) from which on the tiles are faster than AVX-512: smaller products are all packing. `gemm`
/// packs a b whose rows do not follow one another too, but not the other.
const LEAST: [usize; 3] = [32, 48, 96];
const LEAST_BY_ROWS: [usize; 3] = [64, 96, 64];

/// Whether this CPU has tiles and the system lets the process use them; `TALLOW_AMX=0` turns them off.
pub(crate) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        let wanted = std::env::var_os("TALLOW_AMX").is_none_or(|value| value != "0");
        wanted && pack::available() && tile::available()
    });
    *AVAILABLE
}

/// Whether a product of this size (rows, inner, columns) belongs here; b's rows may be contiguous.
pub(super) fn takes(size: [usize; 3], by_rows: bool) -> bool {
    let least = if by_rows { LEAST_BY_ROWS } else { LEAST };
    size.iter().zip(least).all(|(&size, least)| size >= least) && available()
}

thread_local!(static PACKED: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) });

/// What every part of a product shares; y is row-major, its rows `stride` apart.
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
    /// y = scale a b, or y += scale a b, of size (rows, inner, columns), on so many threads.
    ///
    /// # Safety
    /// [`available`] must hold, the operands must have this size, y's rows must be valid for writes, and nothing else may
    /// touch them meanwhile.
    pub unsafe fn run(self, size: [usize; 3], threads: usize) {
        let [m, k, n] = size;
        if threads == 1 {
            // SAFETY: the caller's.
            return unsafe { self.part(size) };
        }
        let along_rows = m > n;
        let parts: Vec<_> = blocks(m.max(n), m.max(n).div_ceil(threads), SIDE).collect();
        parts.into_par_iter().for_each(|(first, len)| {
            // SAFETY: the caller's; parts are disjoint.
            unsafe {
                match along_rows {
                    true => self.at(first, 0, 0).part([len, k, n]),
                    false => self.at(0, 0, first).part([m, k, len]),
                }
            }
        });
    }

    /// The product of what begins at this row of a, this inner index, and this column of b.
    fn at(self, row: usize, inner: usize, column: usize) -> Self {
        Self {
            y: self.y.wrapping_add(row * self.stride + column),
            a: self.a.at(row, inner),
            b: self.b.at(column, inner),
            ..self
        }
    }

    /// On this thread.
    ///
    /// # Safety
    /// As for [`Product::run`].
    unsafe fn part(self, [m, k, n]: [usize; 3]) {
        // SAFETY: the caller's.
        let tiles = unsafe { Tiles::configured() };
        PACKED.with_borrow_mut(|[packed_a, packed_b]| {
            let steps = DEPTH.min(k).div_ceil(STEP);
            let panels = |lanes: usize| lanes.div_ceil(SIDE) * steps * PANEL_STEP;
            reserve(packed_a, panels(ROWS.min(m)));
            reserve(packed_b, panels(COLUMNS.min(n)));
            let mut packed = None;
            for (row, rows) in blocks(m, ROWS, SIDE) {
                for (inner, depth) in blocks(k, DEPTH, STEP) {
                    for (column, columns) in blocks(n, COLUMNS, SIDE) {
                        let part =
                            Self { accumulate: self.accumulate || inner > 0, ..self.at(row, inner, column) };
                        let size = [rows, depth, columns];
                        // SAFETY: the caller's; the buffers have room for the blocks.
                        unsafe {
                            // A b that is one block is packed once for all rows.
                            if packed.replace((inner, column)) != Some((inner, column)) {
                                pack(part.b, columns, depth, 1.0, Format::Depth, packed_b);
                            }
                            part.block(size, &tiles, packed_a, packed_b, column == 0);
                        }
                    }
                }
            }
        });
    }

    /// One block of a by one of b. The first one over a row of blocks packs a for all of them.
    ///
    /// # Safety
    /// As for [`Product::run`]; b is packed.
    unsafe fn block(
        self,
        [rows, depth, columns]: [usize; 3],
        tiles: &Tiles,
        packed_a: &mut [Line],
        packed_b: &[Line],
        first: bool,
    ) {
        let panel = depth.div_ceil(STEP) * PANEL_STEP;
        for (row, a) in (0..rows).step_by(SIDE).zip(packed_a.chunks_exact_mut(panel)) {
            let height = SIDE.min(rows - row);
            if first {
                // SAFETY: the caller's.
                unsafe { pack(self.a.at(row, 0), height, depth, self.scale, Format::Lanes, a) };
            }
            for (column, b) in (0..columns).step_by(SIDE).zip(packed_b.chunks_exact(panel)) {
                let y = self.y.wrapping_add(row * self.stride + column);
                let width = SIDE.min(columns - column);
                // SAFETY: the panels have as many steps; y is the caller's.
                unsafe { tiles.product(y, self.stride, [height, width], a, b, self.accumulate) };
            }
        }
    }
}

fn reserve(buffer: &mut Vec<Line>, lines: usize) {
    if buffer.len() < lines {
        buffer.resize(lines, Line::default());
    }
}

/// Even blocks (first, length) of at most about `most`, whole multiples of `unit` but for the last.
fn blocks(len: usize, most: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = len.div_ceil(len.div_ceil(most)).next_multiple_of(unit);
    (0..len).step_by(size).map(move |first| (first, size.min(len - first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows by columns, and the strides of either.
    struct Matrix {
        values: Vec<f32>,
        strides: [usize; 2],
    }

    impl Matrix {
        fn new([rows, columns]: [usize; 2], by_rows: bool) -> Self {
            // Of many sizes, so that parts of all of them count.
            let value = |i: usize| ((i * 7919 + 13) % 10007) as f32 / 5003.5 - 1.0;
            let values = (0..rows * columns).map(|i| value(i) * 4f32.powi(i as i32 % 7)).collect();
            Self { values, strides: if by_rows { [columns, 1] } else { [1, rows] } }
        }

        fn get(&self, i: usize, j: usize) -> f64 {
            f64::from(self.values[i * self.strides[0] + j * self.strides[1]])
        }
    }

    /// 0.5 a b added to ones, or not.
    fn found(a: &Matrix, b: &Matrix, size: [usize; 3], accumulate: bool, threads: usize) -> Vec<f32> {
        let mut y = vec![1.0; size[0] * size[2]];
        let product = Product {
            y: y.as_mut_ptr(),
            stride: size[2],
            a: Operand { data: a.values.as_ptr(), lane: a.strides[0], inner: a.strides[1] },
            b: Operand { data: b.values.as_ptr(), lane: b.strides[1], inner: b.strides[0] },
            scale: 0.5,
            accumulate,
        };
        // SAFETY: the caller has asked; y and the operands have the size.
        unsafe { product.run(size, threads) };
        y
    }

    fn is_missing() -> bool {
        if !available() {
            eprintln!("not run: this CPU has no tile units, or the system keeps them");
        }
        !available()
    }

    #[test]
    fn products_are_those_of_the_plain_loops_as_exactly_as_f32_gives_them() {
        if is_missing() {
            return;
        }
        let sizes = [[1, 1, 1], [32, 32, 32], [33, 47, 31], [70, 600, 300], [5, 1030, 40], [1100, 33, 65]];
        for (m, k, n) in sizes.map(|[m, k, n]| (m, k, n)) {
            for case in 0..8 {
                let (a, b) = (Matrix::new([m, k], case & 1 == 0), Matrix::new([k, n], case & 2 == 0));
                let (accumulate, threads) = (case & 4 == 0, 1 + 2 * (case % 2));
                let y = found(&a, &b, [m, k, n], accumulate, threads);
                for i in 0..m {
                    for j in 0..n {
                        let terms = || (0..k).map(|l| 0.5 * a.get(i, l) * b.get(l, j));
                        let before = if accumulate { 1.0 } else { 0.0 };
                        let (wanted, size) =
                            (before + terms().sum::<f64>(), before + terms().map(f64::abs).sum::<f64>());
                        let error = (f64::from(y[i * n + j]) - wanted).abs();
                        // A product left out would be 1.5e-5 of the largest term; the rest is what sums round off.
                        assert!(
                            error <= 1e-6 * size,
                            "({m}, {k}, {n}) case {case} at ({i}, {j}): {error:e} of {size:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        if is_missing() {
            return;
        }
        for value in [f32::NAN, f32::from_bits(0x7fff_ffff), f32::INFINITY] {
            let size = [40, 50, 60];
            let (mut a, b) = (Matrix::new([40, 50], true), Matrix::new([50, 60], true));
            a.values[7 * 50 + 3] = value;
            for (at, y) in found(&a, &b, size, false, 1).iter().enumerate() {
                assert_eq!(y.is_finite(), at / 60 != 7, "{value} in row 7: {y} in row {}", at / 60);
            }
        }
    }
}
