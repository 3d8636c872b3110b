//! Matrix products over strided views, with accumulation: few rows as they lie, large ones on tile units where the CPU
//! has them, the others on its vector units.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx;
use super::dots::{self, Output, Rows};
use super::product::{Operand, Product};
use super::transpose::transposed;
use super::{panels, scratch};
use crate::trace;

/// The most values of a vector.
const VECTOR: usize = 16;

/// A matrix within a slice: element (i, j) at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix at the start of `data`, its rows `stride` apart.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(rows == 0 || data.len() >= (rows - 1) * stride + cols, "a view lies within its slice");
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// A contiguous row-major matrix.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Its transpose.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Its rows by the inner size of a product.
    fn operand(&self) -> Operand {
        Operand { data: self.data.as_ptr(), lane: self.row_stride, inner: self.col_stride }
    }

    /// As rows of values that follow one another, if it lies so.
    fn as_rows(&self) -> Option<Rows<'a>> {
        let Self { data, rows, cols, row_stride: stride, col_stride } = *self;
        (col_stride == 1).then_some(Rows { data, rows, cols, stride })
    }
}

/// Whether large products run on tile units.
pub(crate) fn has_tiles() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return amx::available();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

/// y = scale a b, or y += scale a b; y is contiguous, (a.rows, b.cols).
pub(crate) fn gemm(y: &mut [f32], a: View, b: View, scale: f32, accumulate: bool) {
    assert_eq!(y.len(), a.rows * b.cols, "the output of a product");
    trace::product(a.rows, a.cols, b.cols);
    // SAFETY: y has the size of the product and is borrowed mutably.
    unsafe { gemm_at(y.as_mut_ptr(), b.cols, a, b, scale, accumulate, rayon::current_num_threads()) }
}

/// y = scale a b, or y += scale a b; y is row-major, (a.rows, b.cols), its rows `stride` apart. It is
/// for tasks of an operation, whose caller counts their products: a task may run on any thread.
///
/// # Safety
/// The rows of y must be valid for reads and writes, and nothing else may touch them meanwhile.
pub(crate) unsafe fn gemm_at(
    y: *mut f32,
    stride: usize,
    a: View,
    b: View,
    scale: f32,
    accumulate: bool,
    threads: usize,
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "the inner sizes of a product");
    let output = Output { first: y, row: stride, column: 1, scale, accumulate };
    match (a.as_rows(), b.t().as_rows()) {
        (Some(x), Some(w)) if m <= dots::MOST_ROWS && k >= dots::LEAST_DEPTH => {
            // SAFETY: the caller answers for y.
            return unsafe { dots::product(output, x, w, threads) };
        }
        // Few columns: the transposed product has few rows.
        (Some(w), columns) if n < VECTOR && k >= dots::LEAST_DEPTH => {
            let copy = b.as_rows().filter(|_| columns.is_none()).map(transposed).unwrap_or_default();
            let x = columns.unwrap_or(Rows { data: &copy, rows: n, cols: k, stride: k });
            // SAFETY: the caller answers for y.
            return unsafe { dots::product(output.t(), x, w, threads) };
        }
        // Fewer columns than a vector has values: the transposed product's fill vectors. With as few rows, it would
        // come back here.
        (None, _) if n < VECTOR && m >= VECTOR => {
            let mut turned = scratch(n * m);
            // SAFETY: it has room for the product; the caller answers for y.
            unsafe {
                gemm_at(turned.as_mut_ptr(), m, b.t(), a.t(), scale, false, threads);
                for (j, column) in turned.chunks_exact(m).enumerate() {
                    for (i, x) in column.iter().enumerate() {
                        let place = y.add(i * stride + j);
                        *place = if accumulate { *place + x } else { *x };
                    }
                }
            }
            return;
        }
        _ => {}
    }
    let product = Product { y, stride, a: a.operand(), b: b.t().operand(), scale, accumulate };
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if amx::takes([m, k, n], b.col_stride == 1) {
        // SAFETY: the caller answers for y; a and b were checked when their views were made.
        return unsafe { amx::run(product, [m, k, n], threads) };
    }
    // SAFETY: as above.
    unsafe { panels::run(product, [m, k, n], threads) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn products_of_every_shape_are_those_of_the_plain_loops(
            m in prop_oneof![1usize..20, 1usize..200],
            k in prop_oneof![0usize..20, 0usize..300],
            n in prop_oneof![1usize..20, 1usize..200],
            transposed in any::<[bool; 2]>(),
            accumulate: bool,
            threads in 1usize..4,
        ) {
            let values = |len: usize| (0..len).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect();
            // Wider than what is read and written.
            let matrix = |rows: usize, columns: usize| -> Vec<f32> { values(rows * (columns + 3)) };
            let (a_shape, b_shape) = (if transposed[0] { (k, m) } else { (m, k) }, if transposed[1] { (n, k) } else { (k, n) });
            let (a_values, b_values) = (matrix(a_shape.0, a_shape.1), matrix(b_shape.0, b_shape.1));
            let view = |values, (rows, columns), transposed| {
                let view = View::strided(values, rows, columns, columns + 3);
                if transposed { view.t() } else { view }
            };
            let (a, b) = (view(&a_values, a_shape, transposed[0]), view(&b_values, b_shape, transposed[1]));
            let mut y = vec![0.25; m * (n + 2)];
            // SAFETY: y has room for all rows.
            unsafe { gemm_at(y.as_mut_ptr(), n + 2, a, b, 0.5, accumulate, threads) };
            let at = |view: &View, i: usize, j: usize| f64::from(view.data[i * view.row_stride + j * view.col_stride]);
            for (place, found) in y.iter().enumerate() {
                let (i, j) = (place / (n + 2), place % (n + 2));
                let sum = if j < n { (0..k).map(|l| 0.5 * at(&a, i, l) * at(&b, l, j)).sum() } else { 0.0 };
                let wanted: f64 = sum + if accumulate || j >= n { 0.25 } else { 0.0 };
                prop_assert!((f64::from(*found) - wanted).abs() < 1e-4, "({i}, {j}): {found} for {wanted}");
            }
        }
    }
}
