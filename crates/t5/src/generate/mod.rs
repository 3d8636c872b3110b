//! Batched generation.

mod beam;
mod constraints;
mod options;

use std::sync::Arc;

use candle_core::{D, DType, Tensor};
use candle_transformers::generation::LogitsProcessor;
use tallow_ops::{Segments, Tape};

pub use options::{EarlyStopping, GenerationOptions, SamplingOptions};

use crate::{Result, Stream, T5};

/// Continues each source with the most likely token, or a drawn one, until the end token or the limit, or with the
/// sequence that beam search finds: (number, ids) of rows, each ending with the end token -> rows of new ids, without the
/// start token and the end.
///
/// Rows differ in length without padding, and a row that has ended costs nothing more. The answer to a row
/// does not depend on the rows beside it: what is drawn depends on the seed and the row's number. `tape`
/// records nothing.
///
/// # Errors
/// If an id is past the vocabulary, or an operation fails.
pub fn generate(
    model: &T5,
    tape: &Tape,
    sources: &[(usize, impl AsRef<[u32]>)],
    options: &GenerationOptions,
) -> Result<Vec<Vec<u32>>> {
    let rows = || sources.iter().map(|(_, ids)| ids.as_ref());
    model.check_ids(rows().flatten())?;
    let mut outputs: Vec<Vec<u32>> = vec![Vec::new(); sources.len()];
    if sources.is_empty() || options.max_new_tokens == 0 {
        return Ok(outputs);
    }
    let ids: Vec<u32> = rows().flatten().copied().collect();
    let ids = Tensor::new(ids, tape.kernels().device())?;
    let segments = Arc::new(Segments::packed(rows().map(<[u32]>::len)));
    let at = Stream::numbered(segments, sources.iter().map(|(number, _)| *number).collect());
    let encoded = model.encode(tape, &ids, &at)?;
    let mut cache = model.start(tape, &encoded, options.num_beams)?;
    drop(encoded);
    if options.num_beams > 1 {
        return beam::search(model, tape, cache, sources.len(), options);
    }
    let (start, end) = (model.config.decoder_start_token_id, model.config.eos_token_id);
    let mut samplers: Vec<Option<LogitsProcessor>> =
        sources.iter().map(|(number, _)| Some(options.sampling.as_ref()?.processor(*number))).collect();
    let mut active: Vec<usize> = (0..sources.len()).collect();
    let mut tokens = vec![start; sources.len()];
    loop {
        let logits = model.next(tape, &tokens, &active, &mut cache)?;
        tokens = if options.is_plain() {
            logits.argmax(D::Minus1)?.to_vec1::<u32>()?
        } else {
            let logits = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            let mut chosen = Vec::with_capacity(active.len());
            for (mut logits, &row) in logits.into_iter().zip(&active) {
                constraints::apply(options, &mut logits, start, &outputs[row], end);
                let logits = Tensor::from_vec(logits, model.config.vocab_size, &candle_core::Device::Cpu)?;
                chosen.push(match &mut samplers[row] {
                    Some(sampler) => sampler.sample(&logits)?,
                    None => logits.argmax(0)?.to_scalar::<u32>()?,
                });
            }
            chosen
        };
        let mut going = Vec::with_capacity(active.len());
        for (&row, &token) in active.iter().zip(&tokens) {
            if token == end {
                continue;
            }
            outputs[row].push(token);
            if outputs[row].len() < options.max_new_tokens {
                going.push((row, token));
            }
        }
        if going.is_empty() {
            return Ok(outputs);
        }
        (active, tokens) = going.into_iter().unzip();
    }
}
