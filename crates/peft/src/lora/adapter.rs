//! The update s B A at each of its places.

use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{
    Dest, Kernels, Lora, Matrix, Tape, Traced, add, concat_columns, dropout, embedding, linear, lora_linear,
    scale,
};
use tallow_t5::{Adapter, AroundProduct, EmbeddingAdapter, HeadAdapter, Keeps, Result, Stream};

/// One layer's update s B A.
#[derive(Clone)]
pub(crate) struct LoraAdapter {
    /// (rank, in).
    pub a: Traced,
    /// (out, rank).
    pub b: Traced,
    pub scale: f64,
    pub dropout: f64,
}

impl LoraAdapter {
    fn lora(&self) -> Lora<'_> {
        Lora { a: &self.a, b: &self.b, scale: self.scale, dropout: self.dropout }
    }

    fn rank(&self) -> usize {
        self.a.value().dims()[0]
    }

    /// weight + s B A, (out, in).
    pub fn added_to(&self, weight: &Tensor) -> Result<Tensor> {
        let update = (self.b.value().matmul(self.a.value())? * self.scale)?;
        Ok((weight + update.to_dtype(weight.dtype())?)?)
    }
}

impl Adapter for LoraAdapter {
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced, _at: &Stream) -> Result<Traced> {
        Ok(lora_linear(tape, x, weight, self.lora())?)
    }

    fn merge(&self, weight: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.added_to(weight)?))
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: false, values: self.rank() }
    }

    fn around_product(&self, _weight: &Tensor) -> Result<Option<Arc<dyn AroundProduct>>> {
        Ok(Some(Arc::new(self.clone())))
    }
}

impl AroundProduct for LoraAdapter {
    /// y + s x A^T B^T.
    fn after(&self, kernels: &dyn Kernels, x: &Tensor, y: &Tensor) -> Result<()> {
        let (a, b) = (Matrix::t(self.a.value()), Matrix::t(self.b.value()));
        let reduced = kernels.matmul(Dest::New, Matrix::new(x), a, self.scale)?;
        kernels.matmul(Dest::Add(y.clone()), Matrix::new(&reduced), b, 1.0)?;
        Ok(())
    }
}

impl HeadAdapter for LoraAdapter {
    fn logits(&self, tape: &Tape, hidden: &Traced, head: &Traced) -> Result<Traced> {
        Ok(lora_linear(tape, hidden, head, self.lora())?)
    }

    /// [h, s drop(h) A^T] and [W, B]: the head's gradient then holds that of B.
    fn widened(&self, tape: &Tape, hidden: &Traced, head: &Traced) -> Result<[Traced; 2]> {
        let reduced = linear(tape, &dropout(tape, hidden, self.dropout)?, &self.a)?;
        let hidden = concat_columns(tape, hidden, &scale(tape, &reduced, self.scale)?)?;
        Ok([hidden, concat_columns(tape, head, &self.b)?])
    }

    fn merge(&self, head: &Tensor) -> Result<Tensor> {
        self.added_to(head)
    }

    fn columns(&self) -> usize {
        self.rank()
    }
}

/// The update of an embedding's table: rows of A^T, times B^T. peft drops nothing of it.
pub(crate) struct LoraEmbedding {
    /// A as it is looked up, (V, rank).
    pub rows: Traced,
    /// (d, rank).
    pub b: Traced,
    pub scale: f64,
}

impl EmbeddingAdapter for LoraEmbedding {
    fn forward(&self, tape: &Tape, table: &Traced, ids: &Tensor) -> Result<Traced> {
        let reduced = scale(tape, &embedding(tape, &self.rows, ids)?, self.scale)?;
        Ok(add(tape, &embedding(tape, table, ids)?, &linear(tape, &reduced, &self.b)?)?)
    }

    fn merge(&self, table: &Tensor) -> Result<Tensor> {
        let update = (self.rows.value().matmul(&self.b.value().t()?)? * self.scale)?;
        Ok((table + update.to_dtype(table.dtype())?)?)
    }

    fn kept(&self) -> usize {
        self.rows.value().dims()[1]
    }
}
