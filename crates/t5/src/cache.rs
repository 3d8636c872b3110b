use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Segments, Tape, Traced};

use crate::attention::{Attend, Context};
use crate::residual::Residual;
use crate::{Encoded, Result, Stream, T5};

/// The room for new tokens that a cache starts with, a row.
const FIRST_ROOM: usize = 64;

/// The room that a cache has in the end for so many new tokens behind a prefix.
pub(crate) fn room_for(prefix: usize, new_tokens: usize) -> usize {
    let mut room = FIRST_ROOM + prefix;
    while room < prefix + new_tokens {
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
    /// Cross-attention keys and values of each layer, (source tokens, inner): of all layers in the same places.
    cross: Vec<Context>,
    /// The caller's number of each row.
    numbers: Arc<[usize]>,
    /// Slots of a row.
    beams: usize,
    /// Self-attention keys and values of each layer, (slots room, inner): slot s lies from s room on.
    own: Vec<[Tensor; 2]>,
    /// The tokens that a slot has room for.
    room: usize,
    /// The keys of a slot so far, those of a prefix among them: the same for every slot that is still active.
    len: usize,
    /// The bias by distance for `room` tokens.
    bias: Traced,
}

impl T5 {
    /// Starts decoding rows whose sources were encoded, with so many slots to a row.
    ///
    /// # Errors
    /// If an operation fails.
    pub fn start(&self, tape: &Tape, encoded: &Encoded, beams: usize) -> Result<Cache> {
        let Encoded { states, at } = encoded;
        let layers = self.decoder.blocks.iter();
        let cross = layers
            .filter_map(|block| block.cross_attention.as_ref())
            .map(|layer| layer.context(tape, states, at))
            .collect::<Result<_>>()?;
        let (rows, len) = (at.segments.len(), self.decoder.prefix_rows());
        let room = FIRST_ROOM + len;
        let store = |i: usize, prefix: Option<&[Traced; 2]>| -> Result<Tensor> {
            let shape = (rows * beams * room, self.config.inner());
            let store = Tensor::zeros(shape, self.dtype(), tape.kernels().device())?;
            for slot in 0..if prefix.is_some() { rows * beams } else { 0 } {
                prefix.map_or(Ok(()), |prefix| store.slice_set(prefix[i].value(), 0, slot * room))?;
            }
            Ok(store)
        };
        let own = self.decoder.blocks.iter().map(|block| {
            let prefix = block.self_attention.prefix.as_ref();
            Ok([store(0, prefix)?, store(1, prefix)?])
        });
        let own = own.collect::<Result<_>>()?;
        let bias = self.decoder.bias(tape, room)?;
        let numbers = at.rows.clone().unwrap_or_else(|| (0..rows).collect());
        Ok(Cache { cross, numbers, beams, own, room, len, bias })
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
        let number = |slot: usize| cache.numbers[slot / cache.beams];
        let queries = Stream::numbered(queries, slots.iter().map(|&slot| number(slot)).collect());
        let own = Attend { bias: Some(&cache.bias), causal: true, queries: &queries, dropout: 0.0 };
        // All slots of a row look at its source together.
        let rows: Vec<&[usize]> = slots.chunk_by(|a, b| a / cache.beams == b / cache.beams).collect();
        let asking = Arc::new(Segments::packed(rows.iter().map(|slots| slots.len())));
        let asking = Stream::numbered(asking, rows.iter().map(|slots| number(slots[0])).collect());
        let places = |context: &Context| {
            let places = rows.iter().map(|slots| context.segments.ranges()[slots[0] / cache.beams].clone());
            Arc::new(Segments::at(places.collect()))
        };
        let source = cache.cross.first().map(places);
        let cross = Attend { bias: None, causal: false, queries: &asking, dropout: 0.0 };
        let places: Vec<u32> = slots.iter().map(|&slot| (at(slot) + cache.len) as u32).collect();
        let places = Tensor::new(places, device)?;
        let x = self.decoder.embed(tape, self.table(), &Tensor::new(tokens, device)?)?;
        let mut stream = Residual::new(x, 0.0);
        let layers = self.decoder.blocks.iter().zip(&cache.own).zip(&cache.cross);
        for ((block, stores), source_context) in layers {
            let layer = &block.self_attention;
            let normed = layer.norm(tape, &mut stream)?;
            for (store, new) in stores.iter().zip(layer.keys_values(tape, &normed, &queries)?) {
                tape.kernels().put_rows(store, new.value(), &places)?;
            }
            let [keys_so_far, values] = stores.each_ref().map(|store| Traced::constant(store.clone()));
            let context = Context { keys: keys_so_far, values, segments: keys.clone() };
            stream.add(tape, layer.forward(tape, &normed, &context, &own)?, layer.after.as_deref())?;
            if let (Some(layer), Some(segments)) = (&block.cross_attention, &source) {
                let normed = layer.norm(tape, &mut stream)?;
                let Context { keys, values, .. } = source_context;
                let context =
                    Context { keys: keys.clone(), values: values.clone(), segments: segments.clone() };
                stream.add(tape, layer.forward(tape, &normed, &context, &cross)?, layer.after.as_deref())?;
            }
            block.feed_forward.forward(tape, &mut stream, &queries, 0.0)?;
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
        let slots = self.numbers.len() * self.beams;
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
