use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Segments, Tape, Traced, embedding};

use crate::attention::Attend;
use crate::residual::Residual;
use crate::{Result, T5};

/// The room for new tokens that a cache starts with, a row.
const FIRST_ROOM: usize = 64;

/// The room that a cache has in the end for so many new tokens.
pub(crate) fn room_for(new_tokens: usize) -> usize {
    let mut room = FIRST_ROOM;
    while room < new_tokens {
        room *= 2;
    }
    room
}

/// What decoding keeps from token to token: keys and values of every sequence. It belongs to the caller, so one
/// model serves any number of decodings.
///
/// Each row of the batch has the same number of slots, one for each sequence that continues it: one, or the beams. Slot
/// s is of row s / beams.
pub struct Cache {
    /// Cross-attention keys and values of each layer, (source tokens, inner).
    cross: Vec<[Traced; 2]>,
    source_segments: Arc<Segments>,
    /// Slots of a row.
    beams: usize,
    /// Self-attention keys and values of each layer, (slots room, inner): slot s lies from s room on.
    own: Vec<[Tensor; 2]>,
    /// The tokens that a slot has room for.
    room: usize,
    /// The tokens decoded so far, the same for every slot that is still active.
    len: usize,
    /// The bias by distance for `room` tokens.
    bias: Traced,
}

impl T5 {
    /// Starts decoding rows whose sources were encoded to `encoded` (n, d_model), with so many slots to a row.
    ///
    /// # Errors
    /// If an operation fails.
    pub fn start(
        &self,
        tape: &Tape,
        encoded: &Traced,
        source_segments: &Arc<Segments>,
        beams: usize,
    ) -> Result<Cache> {
        let layers = self.decoder.blocks.iter();
        let cross = layers
            .filter_map(|block| block.cross_attention.as_ref())
            .map(|layer| layer.keys_values(tape, encoded))
            .collect::<Result<_>>()?;
        let shape = (source_segments.len() * beams * FIRST_ROOM, self.config.inner());
        let empty = || Tensor::zeros(shape, self.dtype(), tape.kernels().device());
        let own = self.decoder.blocks.iter().map(|_| Ok([empty()?, empty()?])).collect::<Result<_>>()?;
        let bias = self.decoder.bias(tape, FIRST_ROOM)?;
        let source_segments = source_segments.clone();
        Ok(Cache { cross, source_segments, beams, own, room: FIRST_ROOM, len: 0, bias })
    }

    /// The logits after one more token in each of `slots`, ascending: tokens (slots) -> (slots, V). A slot that is left
    /// out once has ended, until it is copied to.
    ///
    /// # Errors
    /// If an operation fails.
    pub fn next(&self, tape: &Tape, tokens: &[u32], slots: &[usize], cache: &mut Cache) -> Result<Tensor> {
        if cache.len == cache.room {
            cache.grow(self, tape)?;
        }
        let device = tape.kernels().device();
        let queries = Arc::new(Segments::packed(slots.iter().map(|_| 1)));
        let at = |slot: usize| slot * cache.room;
        let keys = slots.iter().map(|&slot| at(slot)..at(slot) + cache.len + 1).collect();
        let keys = Arc::new(Segments::at(keys));
        let own =
            Attend { bias: Some(&cache.bias), causal: true, queries: &queries, keys: &keys, dropout: 0.0 };
        // All slots of a row look at its source together.
        let rows: Vec<&[usize]> = slots.chunk_by(|a, b| a / cache.beams == b / cache.beams).collect();
        let asking = Arc::new(Segments::packed(rows.iter().map(|slots| slots.len())));
        let source = rows.iter().map(|slots| cache.source_segments.ranges()[slots[0] / cache.beams].clone());
        let source = Arc::new(Segments::at(source.collect()));
        let cross = Attend { bias: None, causal: false, queries: &asking, keys: &source, dropout: 0.0 };
        let places: Vec<u32> = slots.iter().map(|&slot| (at(slot) + cache.len) as u32).collect();
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
    /// Copies slots: (from, to). None is copied to that another one is copied from.
    pub(crate) fn copy(&self, tape: &Tape, copies: &[(usize, usize)]) -> Result<()> {
        if copies.is_empty() {
            return Ok(());
        }
        let kernels = tape.kernels();
        let places = |of: &dyn Fn(&(usize, usize)) -> usize| {
            let tokens = copies.iter().flat_map(|copy| (0..self.len).map(move |i| (copy, i)));
            let places: Vec<u32> = tokens.map(|(copy, i)| (of(copy) * self.room + i) as u32).collect();
            Tensor::new(places, kernels.device())
        };
        let (from, to) = (places(&|copy| copy.0)?, places(&|copy| copy.1)?);
        for store in self.own.iter().flatten() {
            kernels.put_rows(store, &kernels.embedding(store, &from)?, &to)?;
        }
        Ok(())
    }

    /// Doubles the room.
    fn grow(&mut self, model: &T5, tape: &Tape) -> Result<()> {
        let room = 2 * self.room;
        let slots = self.source_segments.len() * self.beams;
        for store in self.own.iter_mut().flatten() {
            let inner = store.dim(1)?;
            let larger = Tensor::zeros((slots * room, inner), store.dtype(), store.device())?;
            for slot in 0..slots {
                larger.slice_set(&store.narrow(0, slot * self.room, self.len)?, 0, slot * room)?;
            }
            *store = larger;
        }
        self.bias = model.decoder.bias(tape, room)?;
        self.room = room;
        Ok(())
    }
}
