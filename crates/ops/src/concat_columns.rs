use candle_core::Tensor;

use crate::{Error, Result, Tape, Traced, trace};

/// Rows of a, each followed by that of b: a (n, d1), b (n, d2) -> (n, d1 + d2).
///
/// Backward: each receives its columns of dy. Nothing is kept.
///
/// # Errors
/// If the numbers of rows differ.
pub fn concat_columns(tape: &Tape, a: &Traced, b: &Traced) -> Result<Traced> {
    let _span = trace::forward("concat_columns");
    let ((n, a_width), (m, b_width)) = (a.value().dims2()?, b.value().dims2()?);
    if n != m {
        return Err(Error::shape("concat_columns", format!("{n} rows beside {m}")));
    }
    let y = Tensor::cat(&[a.value(), b.value()], 1)?;
    let parts = [(a.target(), 0, a_width), (b.target(), a_width, b_width)];
    Ok(tape.record("concat_columns", y, &[a, b], move |dy, gradients| {
        for (target, first, width) in parts {
            if target.is_traced() {
                gradients.give(&target, dy.narrow(1, first, width)?.contiguous()?)?;
            }
        }
        Ok(())
    }))
}
