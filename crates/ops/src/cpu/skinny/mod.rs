//! Products with one small size: a token a row in generation, the rank of an adapter in training. A general product would
//! spend its time on packing what is read once or twice.

mod dots;
mod outer;

use super::gemm::View;

/// More rows than this are faster through a general product.
const MOST_ROWS: usize = 48;
/// The same for columns, and for the inner size.
const MOST: usize = 32;

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

/// The output, element (i, j) at `i * row + j * column`: scale times the product is put there, or added. Every task
/// writes rows or columns of its own.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub first: *mut f32,
    pub row: usize,
    pub column: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: tasks write different elements.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> *mut f32 {
        self.first.wrapping_add(i * self.row + j * self.column)
    }
}

/// y = scale a b, or y += scale a b, if one of the sizes is small and the operands lie so that it is fast here; returns
/// whether it was.
///
/// # Safety
/// y must have a's rows and b's columns, its rows contiguous, valid for writes; nothing else may touch them meanwhile.
pub(super) unsafe fn product(y: Output, a: View, b: View, threads: usize) -> bool {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    // SAFETY: the caller's.
    unsafe {
        match (a.as_rows(), a.t().as_rows(), b.as_rows(), b.t().as_rows()) {
            (Some(x), _, _, Some(w)) if m <= MOST_ROWS => dots::product(y, x, w, threads),
            (Some(w), _, _, columns) if n <= MOST => {
                let copy = columns.is_none().then(|| b.t().to_rows());
                let x = columns.unwrap_or_else(|| Rows {
                    data: copy.as_deref().unwrap_or_default(),
                    rows: n,
                    cols: k,
                    stride: k,
                });
                dots::product(y.t(), x, w, threads);
            }
            (_, _, Some(b), _) if m <= MOST => outer::product(y, a, b, threads),
            (_, Some(columns), _, _) if n <= MOST => {
                let mut found = vec![0.0; n * m];
                let output = Output { first: found.as_mut_ptr(), row: m, column: 1, accumulate: false, ..y };
                outer::product(output, b.t(), columns, threads);
                for (j, found) in found.chunks_exact(m).enumerate() {
                    for (i, x) in found.iter().enumerate() {
                        let place = y.at(i, j);
                        *place = if y.accumulate { *place + x } else { *x };
                    }
                }
            }
            (_, _, rows, _) if k <= MOST => {
                let copy = rows.is_none().then(|| b.to_rows());
                let b = rows.unwrap_or_else(|| Rows {
                    data: copy.as_deref().unwrap_or_default(),
                    rows: k,
                    cols: n,
                    stride: n,
                });
                outer::product(y, a, b, threads);
            }
            _ => return false,
        }
    }
    true
}
