//! Products on the vector units: b packed into panels, a read as it lies, sums in registers.
//!
//! The scheme is that of Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication", without the
//! packing of a: a tile reads one value of each of its rows at a time, and spreads it over a vector, wherever it lies.

mod pack;
mod tile;

use std::cell::RefCell;

use pulp::{Simd, WithSimd};

use self::pack::{Line, pack};
use super::product::{Operand, Product, blocks};
use super::transpose::transpose;

/// Rows of a to a tile.
const ROWS: usize = 6;
/// Vectors of columns to a tile, and to a panel: with their sums they fill the registers.
#[inline(always)]
fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}
/// Values of the inner size, and columns, to a packed block.
const DEPTH: usize = 1024;
const COLUMNS: usize = 512;
/// Values of a to a block of rows: they stay in the second-level cache while the panels of b go by.
const KEPT: usize = 64 * 1024;
/// Values of b that stay in the first-level cache.
const NEAR: usize = 4096;
/// Up to so many rows, b is not read often enough to be packed.
const FEW: usize = 2 * ROWS;
/// An a whose rows do not follow the memory, and which spans more values than these, is turned first where panels are
/// narrow, and so read it often.
const SPANNED: usize = 128 * 1024;

thread_local! {
    /// b, and rows of a.
    static PACKED: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The product, of size (rows, inner, columns), on so many threads.
///
/// # Safety
/// The operands must have this size, y's rows must be valid for reads and writes, and nothing else may touch them
/// meanwhile.
pub(super) unsafe fn run(product: Product, size: [usize; 3], threads: usize) {
    let arch = pulp::Arch::new();
    product.share(size, threads, Line::LEN, |product, size| arch.dispatch(Part { product, size }));
}

/// What one thread makes.
struct Part {
    product: Product,
    size: [usize; 3],
}

impl WithSimd for Part {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: whoever calls `run` answers for the operands and for y.
        unsafe {
            match vectors::<S>() {
                4 => self.blocks::<S, 4>(simd),
                _ => self.blocks::<S, 2>(simd),
            }
        }
    }
}

impl Part {
    /// # Safety
    /// As for [`run`].
    #[inline(always)]
    unsafe fn blocks<S: Simd, const C: usize>(self, simd: S) {
        let [m, k, n] = self.size;
        let panel = C * S::F32_LANES;
        // Not within a closure: it would be compiled for any CPU.
        let [mut packed, mut turned] = PACKED.take();
        for (column, columns) in blocks(n, COLUMNS, panel) {
            for (inner, depth) in blocks(k.max(1), DEPTH, 1) {
                let depth = depth.min(k);
                let part = self.product.at(0, inner, column);
                // A b whose vectors are whole and few can be read where it lies.
                let lies = part.b.lane == 1
                    && (m <= FEW || columns <= panel)
                    && columns.is_multiple_of(S::F32_LANES);
                // SAFETY: the caller's; the buffer has room for the block.
                unsafe {
                    let (b, between, step) = if lies {
                        (part.b.data, panel, part.b.inner)
                    } else {
                        let to = room(&mut packed, columns.next_multiple_of(panel) * depth);
                        pack(simd, part.b, depth, columns, to);
                        (to.cast_const(), panel * depth, panel)
                    };
                    rows::<S, C>(simd, part, [m, depth, columns], b, between, step, &mut turned);
                }
            }
        }
        PACKED.set([packed, turned]);
    }
}

/// A block of b by all rows of a: its panels begin `between` values apart, their inner indices lie `step` apart.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn rows<S: Simd, const C: usize>(
    simd: S,
    product: Product,
    [m, depth, columns]: [usize; 3],
    b: *const f32,
    between: usize,
    step: usize,
    turned: &mut Vec<Line>,
) {
    let panel = C * S::F32_LANES;
    // All of a b that fits into the first-level cache goes by a few rows at a time: y is written as it lies.
    let kept = if columns * depth <= NEAR { ROWS } else { (KEPT / depth.max(1)).next_multiple_of(ROWS) };
    let turns = product.a.inner * depth > SPANNED && product.a.lane == 1 && panel < Line::LEN * 4;
    for first in (0..m).step_by(kept) {
        let end = m.min(first + kept);
        let mut product = product.at(first, 0, 0);
        if turns {
            let to = room(turned, (end - first) * depth);
            // SAFETY: the caller's; the buffer has room for these rows.
            unsafe { transpose(product.a.data, product.a.inner, [depth, end - first], to, depth) };
            product.a = Operand { data: to, lane: depth, inner: 1 };
        }
        for (index, column) in (0..columns).step_by(panel).enumerate() {
            let width = panel.min(columns - column);
            for (row, height) in blocks(end - first, ROWS, 1) {
                let mut part = product.at(row, 0, column);
                part.b.data = b.wrapping_add(index * between);
                // SAFETY: the caller's.
                unsafe { tile::tile::<S, C>(simd, part, [height, depth, width], step) };
            }
        }
    }
}

/// A buffer's values, so many of them at least.
fn room(buffer: &mut Vec<Line>, values: usize) -> *mut f32 {
    let lines = values.div_ceil(Line::LEN);
    if buffer.len() < lines {
        buffer.resize(lines, Line::default());
    }
    buffer.as_mut_ptr().cast()
}
