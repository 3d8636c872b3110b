use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Segments, Tape, Traced, embedding};

use crate::attention::Attend;
use crate::residual::Residual;
use crate::{Result, T5};

/// The room for new tokens that a cache starts with, a row.
const FIRST_ROOM: usize = 64;

/// What decoding keeps from token to token: keys and values of every row. It belongs to the caller, so one
/// model serves any number of decodings.
pub struct Cache {
    /// Cross-attention keys and values of each layer, (source tokens, inner).
    cross: Vec<[Traced; 2]>,
    source_segments: Arc<Segments>,
    /// Self-attention keys and values of each layer, (rows room, inner): row r lies from r room on.
    own: Vec<[Tensor; 2]>,
    /// The tokens that a row has room for.
    room: usize,
    /// The tokens decoded so far, the same for every row that is still active.
    len: usize,
    /// The bias by distance for `room` tokens.
    bias: Traced,
}

impl T5 {
    /// Starts decoding rows whose sources were encoded to `encoded` (n, d_model).
    ///
    /// # Errors
    /// If an operation fails.
    pub fn start(&self, tape: &Tape, encoded: &Traced, source_segments: &Arc<Segments>) -> Result<Cache> {
        let layers = self.decoder.blocks.iter();
        let cross = layers
            .filter_map(|block| block.cross_attention.as_ref())
            .map(|layer| layer.keys_values(tape, encoded))
            .collect::<Result<_>>()?;
        let shape = (source_segments.len() * FIRST_ROOM, self.config.inner());
        let empty = || Tensor::zeros(shape, self.dtype(), tape.kernels().device());
        let own = self.decoder.blocks.iter().map(|_| Ok([empty()?, empty()?])).collect::<Result<_>>()?;
        let bias = self.decoder.bias(tape, FIRST_ROOM)?;
        let source_segments = source_segments.clone();
        Ok(Cache { cross, source_segments, own, room: FIRST_ROOM, len: 0, bias })
    }

    /// The logits after one more token of each of `rows` (numbers of the batch's rows, ascending): tokens
    /// (rows) -> (rows, V). A row that is left out once has ended.
    ///
    /// # Errors
    /// If an operation fails.
    pub fn next(&self, tape: &Tape, tokens: &[u32], rows: &[usize], cache: &mut Cache) -> Result<Tensor> {
        if cache.len == cache.room {
            cache.grow(self, tape)?;
        }
        let device = tape.kernels().device();
        let queries = Arc::new(Segments::packed(rows.iter().map(|_| 1)));
        let at = |row: usize| row * cache.room;
        let keys = rows.iter().map(|&row| at(row)..at(row) + cache.len + 1).collect();
        let keys = Arc::new(Segments::at(keys));
        let source = rows.iter().map(|&row| cache.source_segments.ranges()[row].clone()).collect();
        let source = Arc::new(Segments::at(source));
        let own =
            Attend { bias: Some(&cache.bias), causal: true, queries: &queries, keys: &keys, dropout: 0.0 };
        let cross = Attend { bias: None, causal: false, queries: &queries, keys: &source, dropout: 0.0 };
        let places: Vec<u32> = rows.iter().map(|&row| (at(row) + cache.len) as u32).collect();
        let places = Tensor::new(places, device)?;
        let x = embedding(tape, self.table(), &Tensor::new(tokens, device)?)?;
        let mut stream = Residual::new(x, 0.0);
        let layers = self.decoder.blocks.iter().zip(&cache.own).zip(&cache.cross);
        for ((block, stores), cross_keys_values) in layers {
            let layer = &block.self_attention;
            let normed = layer.norm(tape, &mut stream)?;
            for (store, new) in stores.iter().zip(layer.keys_values(tape, &normed)?) {
                tape.kernels().put_rows(store, new.value(), &places)?;
            }
            let [k, v] = stores.each_ref().map(|store| Traced::constant(store.clone()));
            stream.add(layer.forward(tape, &normed, [&k, &v], &own)?);
            if let Some(layer) = &block.cross_attention {
                let normed = layer.norm(tape, &mut stream)?;
                stream.add(layer.forward(tape, &normed, cross_keys_values.each_ref(), &cross)?);
            }
            block.feed_forward.forward(tape, &mut stream, 0.0)?;
        }
        cache.len += 1;
        let hidden = self.decoder.final_norm(tape, &mut stream)?;
        self.logits(tape, &self.scaled(tape, hidden)?)
    }
}

impl Cache {
    /// Doubles the room.
    fn grow(&mut self, model: &T5, tape: &Tape) -> Result<()> {
        let room = 2 * self.room;
        let rows = self.source_segments.len();
        for store in self.own.iter_mut().flatten() {
            let inner = store.dim(1)?;
            let larger = Tensor::zeros((rows * room, inner), store.dtype(), store.device())?;
            for row in 0..rows {
                larger.slice_set(&store.narrow(0, row * self.room, self.len)?, 0, row * room)?;
            }
            *store = larger;
        }
        self.bias = model.decoder.bias(tape, room)?;
        self.room = room;
        Ok(())
    }
}
