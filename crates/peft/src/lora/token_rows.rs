use std::collections::HashMap;

use candle_core::Tensor;
use tallow_ops::{Tape, Traced, embedding, replace_rows};
use tallow_t5::{EmbeddingAdapter, Result};

/// Rows of an embedding's table that are trained, peft's `trainable_token_indices`.
pub(crate) struct TokenRows {
    /// (tokens, d).
    pub rows: Traced,
    /// The row that stands for a token.
    pub of_token: HashMap<u32, u32>,
}

impl EmbeddingAdapter for TokenRows {
    fn forward(&self, tape: &Tape, table: &Traced, ids: &Tensor) -> Result<Traced> {
        let x = embedding(tape, table, ids)?;
        let found = ids.to_vec1::<u32>()?.into_iter().zip(0..);
        let found = found.filter_map(|(id, place)| Some((place, *self.of_token.get(&id)?)));
        let (places, rows): (Vec<u32>, Vec<u32>) = found.unzip();
        Ok(replace_rows(tape, &x, &self.rows, &places, &rows)?)
    }

    fn merge(&self, table: &Tensor) -> Result<Tensor> {
        let table = table.force_contiguous()?;
        let rows = self.rows.value().to_dtype(table.dtype())?;
        for (&token, &row) in &self.of_token {
            table.slice_set(&rows.narrow(0, row as usize, 1)?, 0, token as usize)?;
        }
        Ok(table)
    }
}
