//! Products of f32 matrices on the tile units (AMX) of Intel's server CPUs since Sapphire Rapids.
//!
//! The units multiply bf16 and add in f32. A float is the sum of three bf16 values ([`pack`]); of the nine products of
//! two floats' parts, the six greatest leave out less than f32 rounds off (Henry, Tang and Heinecke 2019, "Leveraging
//! the bfloat16 artificial intelligence datatype for higher-precision computations"). Six products at sixteen times the
//! rate of AVX-512 are the faster ones.
//!
//! What differs from products of f32: infinities, and values that bf16 rounds to one (from 3.39e38), give NaN; values below
//! 1e-33 lose their lower parts, since the units take denormal numbers for zero; a scale is rounded into a.

mod pack;
mod tile;

use std::cell::RefCell;
use std::sync::LazyLock;

use self::pack::{Format, Line, PANEL_STEP, STEP, pack};
use self::tile::{SIDE, Tiles};

use super::product::{Product, blocks};

/// Values of the inner size to a block, columns of b to a block: the packed block of b stays in the second-level cache.
const DEPTH: usize = 512;
const COLUMNS: usize = 256;
/// Rows of a that are packed at a time.
const ROWS: usize = 1024;

/// Sizes (rows, inner, columns) from which on the tiles are faster than the `gemm` crate: smaller products are all packing. Where
/// b's rows are contiguous, `gemm` packs nothing, and is faster for longer.
const LEAST: [usize; 3] = [32, 48, 96];
const LEAST_BY_ROWS: [usize; 3] = [64, 96, 64];

/// Whether this CPU has tiles and the system lets the process use them; `TALLOW_AMX=0` turns them off.
pub(in crate::cpu) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        let wanted = std::env::var_os("TALLOW_AMX").is_none_or(|value| value != "0");
        wanted && pack::available() && tile::available()
    });
    *AVAILABLE
}

/// Whether a product of this size (rows, inner, columns) belongs here; `by_rows`: b's rows are contiguous.
pub(super) fn takes(size: [usize; 3], by_rows: bool) -> bool {
    let least = if by_rows { LEAST_BY_ROWS } else { LEAST };
    size.iter().zip(least).all(|(&size, least)| size >= least) && available()
}

thread_local!(static PACKED: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) });

/// The product, of size (rows, inner, columns), on so many threads.
///
/// # Safety
/// [`available`] must hold, the operands must have this size, which is not zero, y's rows must be valid for reads and
/// writes, and nothing else may touch them meanwhile.
pub(super) unsafe fn run(product: Product, size: [usize; 3], threads: usize) {
    let [m, _, n] = size;
    let parts = if m > n { [threads, 1] } else { [1, threads] };
    // SAFETY: the caller's.
    product.share(size, parts, SIDE, |product, size| unsafe { part(product, size) });
}

/// On this thread.
///
/// # Safety
/// As for [`run`].
unsafe fn part(product: Product, [m, k, n]: [usize; 3]) {
    // SAFETY: the caller's.
    let tiles = unsafe { Tiles::configured() };
    PACKED.with_borrow_mut(|[packed_a, packed_b]| {
        let steps = DEPTH.min(k).div_ceil(STEP);
        let panels = |lanes: usize| lanes.div_ceil(SIDE) * steps * PANEL_STEP;
        grow(packed_a, panels(ROWS.min(m)));
        grow(packed_b, panels(COLUMNS.min(n)));
        let mut packed = None;
        for (row, rows) in blocks(m, ROWS, SIDE) {
            for (inner, depth) in blocks(k, DEPTH, STEP) {
                for (column, columns) in blocks(n, COLUMNS, SIDE) {
                    let part = product.at(row, inner, column);
                    let size = [rows, depth, columns];
                    // SAFETY: the caller's; the buffers have room for the blocks.
                    unsafe {
                        // A b that is one block is packed once for all rows.
                        if packed.replace((inner, column)) != Some((inner, column)) {
                            pack(part.b, columns, depth, 1.0, Format::Depth, packed_b);
                        }
                        block(part, size, &tiles, packed_a, packed_b, column == 0);
                    }
                }
            }
        }
    });
}

/// One block of a by one of b. The first one over a row of blocks packs a for all of them.
///
/// # Safety
/// As for [`run`]; b is packed.
unsafe fn block(
    Product { y, stride, a, scale, accumulate, .. }: Product,
    [rows, depth, columns]: [usize; 3],
    tiles: &Tiles,
    packed_a: &mut [Line],
    packed_b: &[Line],
    first: bool,
) {
    let panel = depth.div_ceil(STEP) * PANEL_STEP;
    for (row, packed) in (0..rows).step_by(SIDE).zip(packed_a.chunks_exact_mut(panel)) {
        let height = SIDE.min(rows - row);
        if first {
            // SAFETY: the caller's.
            unsafe { pack(a.at(row, 0), height, depth, scale, Format::Lanes, packed) };
        }
        for (column, b) in (0..columns).step_by(SIDE).zip(packed_b.chunks_exact(panel)) {
            let y = y.wrapping_add(row * stride + column);
            let width = SIDE.min(columns - column);
            // SAFETY: the panels have as many steps; y is the caller's.
            unsafe { tiles.product(y, stride, [height, width], packed, b, accumulate) };
        }
    }
}

fn grow(buffer: &mut Vec<Line>, lines: usize) {
    if buffer.len() < lines {
        buffer.resize(lines, Line::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::panels;
    use crate::cpu::product::Operand;

    struct Matrix {
        values: Vec<f32>,
        /// Of rows and of columns.
        strides: [usize; 2],
    }

    impl Matrix {
        /// Of many magnitudes, so that parts of all of them count; wider than what is read.
        fn new([rows, columns]: [usize; 2], by_rows: bool) -> Self {
            let strides = if by_rows { [columns + 5, 1] } else { [1, rows + 3] };
            let value = |i: usize| ((i * 7919 + 13) % 10007) as f32 / 5003.5 - 1.0;
            let len = (rows - 1) * strides[0] + (columns - 1) * strides[1] + 1;
            Self { values: (0..len).map(|i| value(i) * 4f32.powi(i as i32 % 7)).collect(), strides }
        }

        fn get(&self, i: usize, j: usize) -> f64 {
            f64::from(self.values[i * self.strides[0] + j * self.strides[1]])
        }
    }

    const GAP: usize = 2;

    #[derive(Clone, Copy)]
    enum Units {
        Tiles,
        Vectors,
    }

    /// scale a b added to ones, or not; between the rows of y lie [`GAP`] ones.
    fn found(
        units: Units,
        a: &Matrix,
        b: &Matrix,
        size: [usize; 3],
        scale: f32,
        accumulate: bool,
        threads: usize,
    ) -> Vec<f32> {
        let stride = size[2] + GAP;
        let mut y = vec![1.0; size[0] * stride];
        let product = Product {
            y: y.as_mut_ptr(),
            stride,
            a: Operand { data: a.values.as_ptr(), lane: a.strides[0], inner: a.strides[1] },
            b: Operand { data: b.values.as_ptr(), lane: b.strides[1], inner: b.strides[0] },
            scale,
            accumulate,
        };
        // SAFETY: the test has asked whether there are tiles, if it wants them; y and the operands have the size.
        unsafe {
            match units {
                Units::Tiles => run(product, size, threads),
                Units::Vectors => panels::run(product, size, threads),
            }
        };
        y
    }

    /// `TALLOW_AMX_REQUIRED` has tests fail where they would not run.
    fn is_missing() -> bool {
        let required = std::env::var_os("TALLOW_AMX_REQUIRED").is_some();
        assert!(available() || !required, "this CPU has no tile units, or the system keeps them");
        if !available() {
            eprintln!("not run: this CPU has no tile units, or the system keeps them");
        }
        !available()
    }

    #[test]
    fn products_are_as_exact_as_those_of_f32() {
        if is_missing() {
            return;
        }
        let sizes = [[1, 1, 1], [32, 32, 32], [33, 47, 31], [70, 600, 300], [5, 1030, 40], [1100, 600, 300]];
        for size in sizes {
            let [m, k, n] = size;
            let mut errors = [0.0f64; 2];
            for case in 0..16 {
                let [by_rows, b_by_rows, accumulate, several] = [1, 2, 4, 8].map(|bit| case & bit == 0);
                let (a, b) = (Matrix::new([m, k], by_rows), Matrix::new([k, n], b_by_rows));
                let found = |units| found(units, &a, &b, size, 1.7, accumulate, if several { 3 } else { 1 });
                let (y, z) = (found(Units::Tiles), found(Units::Vectors));
                for i in 0..m {
                    assert_eq!(y[i * (n + GAP) + n..][..GAP], [1.0; GAP], "behind row {i}");
                    // All of the small ones, some of the large.
                    for j in (i % 7..n).step_by(if m * n > 10_000 { 7 } else { 1 }) {
                        let before = if accumulate { 1.0 } else { 0.0 };
                        let terms = (0..k).map(|l| f64::from(1.7f32) * a.get(i, l) * b.get(l, j));
                        let (sum, size) =
                            terms.fold((before, before), |(sum, size), x| (sum + x, size + x.abs()));
                        for (error, found) in errors.iter_mut().zip([&y, &z].map(|y| y[i * (n + GAP) + j])) {
                            *error = error.max((f64::from(found) - sum).abs() / size);
                        }
                    }
                }
            }
            // A part left out would be 4e-6 and more.
            let [tiles, vectors] = errors;
            assert!(vectors < 1e-6, "{size:?}: vectors are {vectors:e} of the terms off");
            assert!(tiles < 1.5 * vectors + 2e-7, "{size:?}: {tiles:e} of the terms, vectors {vectors:e}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        if is_missing() {
            return;
        }
        for value in [f32::NAN, f32::from_bits(0x7fff_ffff), f32::INFINITY, f32::MIN] {
            let size = [40, 50, 60];
            let (mut a, b) = (Matrix::new([40, 50], true), Matrix::new([50, 60], true));
            a.values[7 * a.strides[0] + 3] = value;
            for (i, row) in
                found(Units::Tiles, &a, &b, size, 1.0, false, 1).chunks_exact(60 + GAP).enumerate()
            {
                let finite = row[..60].iter().filter(|x| x.is_finite()).count();
                assert_eq!(finite, if i == 7 { 0 } else { 60 }, "{value} in row 7: row {i}");
            }
        }
    }
}
