//! Products on the vector units: b packed into panels where it is read often, a read as it lies unless that is too far
//! apart, sums in registers.
//!
//! The scheme is that of Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication", without the
//! packing of a: a tile reads one value of each of its rows at a time, and spreads it over a vector, wherever it lies.

mod pack;
mod tile;

use std::cell::RefCell;

use pulp::{Simd, WithSimd};

use self::pack::{Line, pack, room};
use super::product::{Operand, Product, blocks};
use super::transpose::transpose;

/// Rows of a to a tile.
const ROWS: usize = 6;
/// Values of the inner size, and columns, to a packed block.
const DEPTH: usize = 1024;
const COLUMNS: usize = 512;
/// Values of a to a block of rows: they stay in the second-level cache while the panels of b go by.
const KEPT: usize = 64 * 1024;
/// Values of b that stay in the first-level cache.
const NEAR: usize = 4096;
/// Up to so many rows, b is not read often enough to be packed.
const FEW: usize = 2 * ROWS;
/// The least multiply-adds to a thread: the sharing itself takes the time of so many.
const SHARED: usize = 256 * 1024;
/// Inner indices that lie multiples of so many values apart share a few lines of the first-level cache.
const ALIASED: usize = 512;
/// An a whose rows lie across the memory, over more values than these, is turned first: its lines would be read from afar,
/// a few values at a time.
const SPANNED: usize = 256 * 1024;

/// Vectors of columns to a tile, and to a panel: the sums of six rows of them fill the registers.
#[inline(always)]
fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

thread_local! {
    /// Panels of b, and rows of a.
    static PACKED: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The product, of size (rows, inner, columns), on so many threads.
///
/// # Safety
/// The operands must have this size, y's rows must be valid for reads and writes, and nothing else may touch them
/// meanwhile.
pub(super) unsafe fn run(product: Product, size: [usize; 3], threads: usize) {
    let along = |x: &Operand| x.lane == 1 || x.inner == 1;
    assert!(along(&product.a) && along(&product.b), "operands that follow one of their axes");
    let [m, k, n] = size;
    let threads = threads.min(m * k * n / SHARED).max(1);
    // Along the columns first: each thread then packs a part of b that no other one needs.
    let along_columns = threads.min(n.div_ceil(4 * Line::LEN)).max(1);
    let parts = [threads.div_ceil(along_columns), along_columns];
    let arch = pulp::Arch::new();
    product.share(size, parts, Line::LEN, |product, size| {
        // SAFETY: the caller's; parts are disjoint.
        arch.dispatch(unsafe { Part::new(product, size) });
    });
}

/// What one thread makes.
struct Part {
    product: Product,
    size: [usize; 3],
}

impl Part {
    /// # Safety
    /// As for [`run`], until the part is made.
    unsafe fn new(product: Product, size: [usize; 3]) -> Self {
        Self { product, size }
    }
}

impl WithSimd for Part {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: whoever made the part answers for the operands and for y.
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
                let is_near = columns <= panel && !part.b.inner.is_multiple_of(ALIASED);
                let lies = part.b.lane == 1 && (m <= FEW || is_near) && columns.is_multiple_of(S::F32_LANES);
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
    let turns = product.a.lane == 1 && product.a.inner * depth > SPANNED;
    let kept = match columns * depth <= NEAR && !turns {
        true => ROWS,
        false => (KEPT / depth.max(1)).next_multiple_of(ROWS),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: usize = 2;

    /// A matrix of lanes by the inner size; between its rows in memory lie [`GAP`] values that are not to be read.
    fn matrix(lanes: usize, inner: usize, across: bool) -> (Vec<f32>, [usize; 2]) {
        let (rows, row) = if across { (inner, lanes) } else { (lanes, inner) };
        let stride = row + GAP;
        let value = |i: usize| ((i * 7919 + 13) % 10007) as f32 / 5003.5 - 1.0;
        let values = (0..rows * stride).map(|i| if i % stride < row { value(i) } else { f32::NAN });
        (values.collect(), if across { [1, stride] } else { [stride, 1] })
    }

    /// a b, or what is added to ones, between whose rows lie [`GAP`] ones, against plain loops.
    fn check(
        run: &dyn Fn(Product, [usize; 3]),
        size: [usize; 3],
        [a_across, b_across, accumulate]: [bool; 3],
    ) {
        let [m, k, n] = size;
        let ((a, a_strides), (b, b_strides)) = (matrix(m, k, a_across), matrix(n, k, b_across));
        let mut y = vec![1.0; m * (n + GAP)];
        let operand = |data: &[f32], [lane, inner]: [usize; 2]| Operand { data: data.as_ptr(), lane, inner };
        let (x, w) = (operand(&a, a_strides), operand(&b, b_strides));
        run(Product { y: y.as_mut_ptr(), stride: n + GAP, a: x, b: w, scale: 0.5, accumulate }, size);
        for (i, row) in y.chunks_exact(n + GAP).enumerate() {
            assert_eq!(row[n..], [1.0; GAP], "behind row {i} of {m} x {k} x {n}");
            for j in (i % 3..n).step_by(if m * k * n > 1_000_000 { 11 } else { 1 }) {
                let before = if accumulate { 1.0 } else { 0.0 };
                let terms = (0..k).map(|l| {
                    0.5 * f64::from(a[i * x.lane + l * x.inner]) * f64::from(b[j * w.lane + l * w.inner])
                });
                let (sum, size) = terms.fold((before, before), |(sum, size), x| (sum + x, size + x.abs()));
                let error = (f64::from(row[j]) - sum).abs();
                assert!(error <= 2e-6 * size, "({i}, {j}) of {m} x {k} x {n}: {} for {sum}", row[j]);
            }
        }
    }

    fn check_sizes(run: &dyn Fn(Product, [usize; 3])) {
        // Parts of tiles and panels, few rows, a deep product, several blocks of columns, a b that aliases, an a that is
        // turned first, nothing at all.
        let sizes = [
            [1, 1, 1],
            [6, 8, 64],
            [7, 5, 65],
            [12, 70, 192],
            [20, 64, 33],
            [1, 1100, 70],
            [13, 1100, 40],
            [9, 30, 1100],
            [70, 20, 510],
            [600, 450, 70],
            [600, 450, 4],
            [5, 0, 70],
            [0, 5, 70],
            [5, 70, 0],
        ];
        for size in sizes {
            for case in 0..8 {
                check(run, size, [1, 2, 4].map(|bit| case & bit != 0));
            }
        }
    }

    #[test]
    fn products_by_every_set_of_instructions_are_those_of_the_plain_loops() {
        // SAFETY: `check` gives operands and a y of the size.
        let part = |product, size| unsafe { Part::new(product, size) };
        check_sizes(&|product, size| pulp::Scalar::new().vectorize(part(product, size)));
        check_sizes(&|product, size| pulp::Arch::new().dispatch(part(product, size)));
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            check_sizes(&|product, size| Simd::vectorize(simd, part(product, size)));
        }
    }

    #[test]
    fn threads_share_a_product() {
        for threads in [2, 3, 16] {
            // SAFETY: `check` gives operands and a y of the size.
            check_sizes(&|product, size| unsafe { run(product, size, threads) });
        }
    }
}
