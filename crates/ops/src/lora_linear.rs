use candle_core::Tensor;

use crate::linear::{Saved, product};
use crate::{Dest, Kernels, Mask, Matrix, Result, Tape, Traced, trace};

/// A low-rank update s B A of a weight (out, in), and what is dropped before it.
#[derive(Clone, Debug)]
pub struct Lora<'a> {
    /// A, (rank, in).
    pub a: &'a Traced,
    /// B, (out, rank).
    pub b: &'a Traced,
    /// s.
    pub scale: f64,
    /// The probability that an element of the update's input is dropped in training.
    pub dropout: f64,
}

/// y = x W^T + s drop(x) A^T B^T: x (n, in), W (out, in) -> (n, out). Hu et al. 2021, as peft computes it.
///
/// Backward: dB = s dy^T (drop(x) A^T), dA = s (dy B)^T drop(x), dx = dy W + drop'(s (dy B) A), and W's
/// gradient only where it is trained. The dropped input is computed again rather than kept.
///
/// # Errors
/// If the shapes do not go together.
pub fn lora_linear(tape: &Tape, x: &Traced, weight: &Traced, lora: Lora) -> Result<Traced> {
    let _span = trace::forward("lora_linear");
    let kernels = tape.kernels();
    let Lora { a, b, scale, dropout } = lora;
    let mask = tape.mask(dropout);
    let dropped = |kernels: &dyn Kernels, x: &Tensor, mask: Option<Mask>| match mask {
        Some(mask) => kernels.dropout(Dest::New, x, mask),
        None => Ok(x.clone()),
    };
    let y = product(tape, x, weight)?;
    let xa = {
        let x = dropped(&**kernels, x.value(), mask)?;
        kernels.matmul(Dest::New, Matrix::new(&x), Matrix::t(a.value()), scale)?
    };
    let y = kernels.matmul(Dest::Add(y), Matrix::new(&xa), Matrix::t(b.value()), 1.0)?;
    let inputs = [x, weight, a, b];
    let base = Saved::new(x, weight);
    let (target, x, a, b) = (x.target(), x.keep(), a.clone(), b.clone());
    Ok(tape.record("lora_linear", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        gradients.add(&b.target(), |db| kernels.matmul(db, Matrix::t(&dy), Matrix::new(&xa), 1.0))?;
        let dyb = kernels.matmul(Dest::New, Matrix::new(&dy), Matrix::new(b.value()), scale)?;
        gradients.add(&a.target(), |da| {
            let x = dropped(&*kernels, &x.take(&*kernels)?, mask)?;
            kernels.matmul(da, Matrix::t(&dyb), Matrix::new(&x), 1.0)
        })?;
        base.backward(&dy, gradients)?;
        gradients.add(&target, |dx| match mask {
            None => kernels.matmul(dx, Matrix::new(&dyb), Matrix::new(a.value()), 1.0),
            Some(mask) => {
                let update = kernels.matmul(Dest::New, Matrix::new(&dyb), Matrix::new(a.value()), 1.0)?;
                kernels.dropout(dx, &update, mask)
            }
        })
    }))
}
