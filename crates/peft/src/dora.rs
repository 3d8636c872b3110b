use std::sync::Arc;

use candle_core::{D, DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tallow_ops::{
    Composed, Dest, Kernels, MatmulKernel, Matrix, Tape, Traced, add, dropout, linear, mul_vector, scale,
};
use tallow_t5::{Adapter, AroundProduct, Keeps, Stream, T5};

use crate::file::{Form, Place, Plain, prefixed};
use crate::kind::{Draft, Kind, Start, Trained, linear_named};
use crate::lora::{self, Drafted, LoraAdapter};
use crate::{Error, LoraOptions, Result};

/// DoRA has LoRA's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DoraOptions(pub LoraOptions);

/// A weight's direction is adapted by LoRA, and its rows' lengths m are trained: y = (m / n) (W x + s B A x), n the lengths
/// of the rows of W + s B A, which are constants to backward. Liu et al. 2024, as peft computes it.
struct DoraAdapter {
    lora: LoraAdapter,
    /// m, (out).
    magnitude: Traced,
    /// The squares of the lengths of the rows of W, (out), f32.
    squares: Tensor,
}

impl DoraAdapter {
    /// 1 / n, (out), f32, from products of low rank: n^2 = |W|^2 + 2 s (W A^T) o B + s^2 (B A A^T) o B, summed over rows.
    fn inverse_lengths(
        &self,
        weight: &Tensor,
        product: impl Fn(&Tensor, Matrix) -> tallow_t5::Result<Tensor>,
    ) -> tallow_t5::Result<Tensor> {
        let s = self.lora.scale;
        let (a, b) = (self.lora.a.value(), self.lora.b.value());
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        // Products run in the model's type, and the sums behind them in f32.
        let cross = wide(&product(weight, Matrix::t(a))?)?;
        let own = wide(&product(b, Matrix::new(&product(a, Matrix::t(a))?))?)?;
        let mixed = ((cross * (2.0 * s))? + (own * (s * s))?)?;
        let squares = (&self.squares + (mixed * wide(b)?)?.sum(D::Minus1)?)?;
        Ok(squares.sqrt()?.recip()?)
    }

    /// The same by candle's own products, where there is no tape.
    fn composed_lengths(&self, weight: &Tensor) -> tallow_t5::Result<Tensor> {
        let composed = Composed::new(weight.device().clone());
        self.inverse_lengths(weight, |x, y| Ok(composed.matmul(Dest::New, Matrix::new(x), y, 1.0)?))
    }
}

impl Adapter for DoraAdapter {
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced, at: &Stream) -> tallow_t5::Result<Traced> {
        let product = |x: &Tensor, y: Matrix| Ok(tape.kernels().matmul(Dest::New, Matrix::new(x), y, 1.0)?);
        let inverse = self.inverse_lengths(weight.value(), product)?;
        if !tape.drops(self.lora.dropout) {
            let y = self.lora.forward(tape, x, weight, at)?;
            return Ok(mul_vector(tape, &y, &self.magnitude, Some(&inverse))?);
        }
        // peft drops the input of all but the base's own output: W x + (m / n - 1) W d + (m / n) s B A d, d = drop(x).
        let dropped = dropout(tape, x, self.lora.dropout)?;
        let kept = LoraAdapter { dropout: 0.0, ..self.lora.clone() };
        let adapted = kept.forward(tape, &dropped, weight, at)?;
        let adapted = mul_vector(tape, &adapted, &self.magnitude, Some(&inverse))?;
        let left = add(tape, x, &scale(tape, &dropped, -1.0)?)?;
        Ok(add(tape, &linear(tape, &left, weight)?, &adapted)?)
    }

    fn merge(&self, weight: &Tensor) -> tallow_t5::Result<Option<Tensor>> {
        let factors = (self.magnitude.value().to_dtype(DType::F32)? * self.composed_lengths(weight)?)?;
        let adapted = self.lora.added_to(weight)?;
        Ok(Some(adapted.broadcast_mul(&factors.unsqueeze(1)?.to_dtype(weight.dtype())?)?))
    }

    fn keeps(&self) -> Keeps {
        let kept = self.lora.keeps();
        match self.lora.dropout > 0.0 {
            // What is scaled is a part of the output then.
            true => Keeps { values: kept.values + self.magnitude.value().elem_count(), ..kept },
            false => Keeps { output: true, ..kept },
        }
    }

    fn around_product(&self, weight: &Tensor) -> tallow_t5::Result<Option<Arc<dyn AroundProduct>>> {
        let inverse = self.composed_lengths(weight)?;
        let (lora, magnitude) = (self.lora.clone(), self.magnitude.value().clone());
        Ok(Some(Arc::new(AroundDora { lora, magnitude, inverse })))
    }
}

/// DoRA of a weight that no longer changes.
struct AroundDora {
    lora: LoraAdapter,
    /// m, (out).
    magnitude: Tensor,
    /// 1 / n, (out), f32.
    inverse: Tensor,
}

impl AroundProduct for AroundDora {
    /// (m / n) (y + s x A^T B^T).
    fn after(&self, kernels: &dyn Kernels, x: &Tensor, y: &Tensor) -> tallow_t5::Result<()> {
        self.lora.after(kernels, x, y)?;
        let scaled = kernels.mul_columns(Dest::New, y, &self.magnitude, Some(&self.inverse))?;
        Ok(y.slice_set(&scaled, 0, 0)?)
    }
}

/// The squares of the lengths of a matrix's rows, f32.
fn squares(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.to_dtype(DType::F32)?.sqr()?.sum(D::Minus1)?)
}

impl Kind for DoraOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = self.0.problems();
        if self.0.init_lora_weights.takes_from_the_weight() {
            let what = "DoRA starts from the weight as it is: give kaiming or gaussian";
            problems.push(("init_lora_weights", what.to_owned()));
        }
        problems
    }

    fn describe(&self) -> String {
        format!("DoRA {}", self.0.in_words())
    }

    fn draft(&self, model: &T5, fresh: bool) -> Result<Draft> {
        let targets = self.0.targets(model)?;
        let mut weights = model.clone();
        let linears = weights.linears_mut();
        // A's and B's come first, in the targets' order, and whatever else LoRA trains; then the magnitudes.
        let mut magnitudes = Vec::new();
        for target in &targets {
            let linear = linears.iter().find(|linear| linear.name() == target.name);
            let Some(linear) = linear else { return Err(Error::NotLinear { name: target.name.clone() }) };
            magnitudes.push((target.name.clone(), squares(linear.weight.value.value())?));
        }
        let Drafted { mut tensors, mut places, hook: lora, .. } = self.0.drafted(model, fresh)?;
        let others = tensors.len();
        for (layer, squares) in &magnitudes {
            let name = prefixed(&format!("{layer}.lora_magnitude_vector"));
            let lengths = squares.sqrt()?;
            places.push(Place { name: name.clone(), shape: lengths.dims().to_vec(), form: Form::Same });
            tensors.push(Trained::new(name, lengths.dims().to_vec(), Start::Values(lengths)));
        }
        let dropout = self.0.dropout;
        let hook = move |model: &mut T5, traced: &[Traced]| {
            lora(model, &traced[..others])?;
            let scales = targets.iter().map(|target| target.scale);
            for (i, ((layer, squares), scale)) in magnitudes.into_iter().zip(scales).enumerate() {
                let [a, b] = [&traced[2 * i], &traced[2 * i + 1]].map(Traced::clone);
                let lora = LoraAdapter { a, b, scale, dropout };
                let adapter = DoraAdapter { lora, magnitude: traced[others + i].clone(), squares };
                linear_named(model, &layer).adapter = Some(Arc::new(adapter));
            }
            Ok(())
        };
        Ok(Draft { tensors, hook: Box::new(hook), layout: Box::new(Plain(places)) })
    }

    fn starts_from_weights(&self) -> bool {
        true
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        lora::config(&lora::as_peft_allows(&self.0, model), true)
    }
}
