use candle_core::Tensor;

use crate::tape::{Kept, Target};
use crate::{Dest, Gradients, Matrix, Result, Tape, Traced, trace};

/// y = x W^T: x (n, in), W (out, in) -> (n, out).
///
/// Backward: dx = dy W, and dW = dy^T x where the weight is trained. With a frozen weight nothing of x is kept.
///
/// # Errors
/// If the shapes do not go together.
pub fn linear(tape: &Tape, x: &Traced, weight: &Traced) -> Result<Traced> {
    let _span = trace::forward("linear");
    let y = product(tape, x, weight)?;
    let saved = Saved::new(x, weight);
    Ok(tape.record("linear", y, &[x, weight], move |dy, gradients| saved.backward(&dy, gradients)))
}

/// x W^T, not recorded.
pub(crate) fn product(tape: &Tape, x: &Traced, weight: &Traced) -> Result<Tensor> {
    tape.kernels().matmul(Dest::New, Matrix::new(x.value()), Matrix::t(weight.value()), 1.0)
}

/// What the gradients of x W^T need.
pub(crate) struct Saved {
    x: Target,
    /// Kept only for a trained weight.
    x_value: Option<Kept>,
    weight: Traced,
}

impl Saved {
    pub fn new(x: &Traced, weight: &Traced) -> Self {
        let x_value = weight.is_traced().then(|| x.keep());
        Self { x: x.target(), x_value, weight: weight.clone() }
    }

    pub fn backward(self, dy: &Tensor, gradients: &mut Gradients) -> Result<()> {
        let kernels = gradients.kernels();
        if let Some(x) = self.x_value {
            let x = x.take(&*kernels)?;
            gradients
                .add(&self.weight.target(), |dw| kernels.matmul(dw, Matrix::t(dy), Matrix::new(&x), 1.0))?;
        }
        gradients
            .add(&self.x, |dx| kernels.matmul(dx, Matrix::new(dy), Matrix::new(self.weight.value()), 1.0))
    }
}
