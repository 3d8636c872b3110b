//! A vector applied to every row: products, sums, and the gradients of these.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::Tensor;

use crate::tape::Kept;
use crate::{Dest, Error, Result, Tape, Traced, trace};

/// Raw products and sums by column.
pub trait ColumnsKernel {
    /// x f b: x (n, d), `factors` f (d), `by` b (d), f32 whatever x is -> (n, d). None is 1.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn mul_columns(&self, dest: Dest, x: &Tensor, factors: &Tensor, by: Option<&Tensor>) -> Result<Tensor>;

    /// x + b on every row: x (n, d), b (d) -> (n, d).
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn add_columns(&self, x: &Tensor, b: &Tensor) -> Result<Tensor>;

    /// b / o times the sum over rows of dy x: dy, x (n, d), `by` b (d), f32 whatever dy is, `over` o (d) -> (d). None is
    /// 1; where o is 0, the result is.
    ///
    /// # Errors
    /// If the shapes do not go together.
    fn sum_columns(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: Option<&Tensor>,
        by: Option<&Tensor>,
        over: Option<&Tensor>,
    ) -> Result<Tensor>;
}

/// What the gradient of factors is computed from.
enum Saved {
    Input(Kept),
    Output(Tensor),
}

/// y = x f b on every row: x (n, d), `factors` f (d), `by` b (d), a constant in f32 -> (n, d). IA3's scaling (Liu et
/// al. 2022), and DoRA's, where b is one over a norm (Liu et al. 2024).
///
/// Backward: dx = dy f b, and df = b sum(dy x) where the factors are trained. That takes x if it can be made again, and
/// else y, which the next operation often keeps too: df = sum(dy y) / f. A factor that is exactly 0 then receives
/// gradient 0.
///
/// # Errors
/// If the shapes do not go together.
pub fn mul_vector(tape: &Tape, x: &Traced, factors: &Traced, by: Option<&Tensor>) -> Result<Traced> {
    let _span = trace::forward("mul_vector");
    let y = tape.kernels().mul_columns(Dest::New, x.value(), factors.value(), by)?;
    let saved = factors.is_traced().then(|| match x.is_made_again() {
        true => Saved::Input(x.keep()),
        false => Saved::Output(y.clone()),
    });
    let kept = matches!(saved, Some(Saved::Output(_))).then(|| y.clone());
    let inputs = [x, factors];
    let (target, factors, by) = (x.target(), factors.clone(), by.cloned());
    let again = (factors.value().clone(), by.clone());
    let y = tape.record("mul_vector", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        if let Some(saved) = saved {
            let (x, by, over) = match saved {
                Saved::Input(x) => (x.take(&*kernels)?, by.as_ref(), None),
                Saved::Output(y) => (y, None, Some(factors.value())),
            };
            gradients.add(&factors.target(), |dest| kernels.sum_columns(dest, &dy, Some(&x), by, over))?;
        }
        gradients.add(&target, |dx| kernels.mul_columns(dx, &dy, factors.value(), by.as_ref()))
    });
    if let Some(kept) = kept {
        // Whoever else wants it for backward finds it here.
        return Ok(y.made_again(move |_| Ok(kept)));
    }
    if !x.is_made_again() {
        return Ok(y);
    }
    let x = x.keep();
    Ok(y.made_again(move |kernels| {
        let (factors, by) = again;
        kernels.mul_columns(Dest::New, &x.take(kernels)?, &factors, by.as_ref())
    }))
}

/// y = x + b on every row: x (n, d), b (d) -> (n, d). A bias, as BitFit trains it (Zaken et al. 2022).
///
/// Backward: dx = dy, db = sum(dy). Nothing is kept.
///
/// # Errors
/// If the shapes do not go together.
pub fn add_vector(tape: &Tape, x: &Traced, b: &Traced) -> Result<Traced> {
    let _span = trace::forward("add_vector");
    let y = tape.kernels().add_columns(x.value(), b.value())?;
    let targets = [x.target(), b.target()];
    Ok(tape.record("add_vector", y, &[x, b], move |dy, gradients| {
        let kernels = gradients.kernels();
        let [x, b] = targets;
        gradients.add(&b, |db| kernels.sum_columns(db, &dy, None, None, None))?;
        gradients.give(&x, dy)
    }))
}

/// (n, d) of x; `like` has to have its shape, and `vectors` a value for each column.
fn sizes(x: &Tensor, like: Option<&Tensor>, vectors: [Option<&Tensor>; 2]) -> Result<(usize, usize)> {
    let (n, d) = x.dims2()?;
    if let Some(like) = like.filter(|like| like.dims() != [n, d]) {
        return Err(Error::shape("columns", format!("a gradient [{n}, {d}] of {:?}", like.dims())));
    }
    match vectors.into_iter().flatten().find(|vector| vector.dims() != [d]) {
        Some(vector) => Err(Error::shape("columns", format!("{:?} for rows of {d}", vector.dims()))),
        None => Ok((n, d)),
    }
}
