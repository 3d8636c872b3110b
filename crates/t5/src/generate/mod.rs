//! Batched generation.

mod constraints;
mod options;

use candle_core::{D, DType, Tensor};
use candle_transformers::generation::LogitsProcessor;
use tallow_ops::Tape;

pub use options::{GenerationOptions, SamplingOptions};

use crate::batch::pack;
use crate::{Result, T5};

/// Continues each source with the most likely token, or a drawn one, until the end token or the limit:
/// rows of ids, each ending with the end token -> rows of new ids, without the start token and the end.
///
/// Rows differ in length without padding, and a row that has ended costs nothing more. The answer to a row
/// does not depend on the rows beside it. `tape` records nothing.
///
/// # Errors
/// If an id is past the vocabulary, or an operation fails.
pub fn generate(
    model: &T5,
    tape: &Tape,
    sources: &[impl AsRef<[u32]>],
    options: &GenerationOptions,
) -> Result<Vec<Vec<u32>>> {
    let rows = || sources.iter().map(AsRef::as_ref);
    model.check_ids(rows().flatten())?;
    let mut outputs: Vec<Vec<u32>> = vec![Vec::new(); sources.len()];
    if sources.is_empty() || options.max_new_tokens == 0 {
        return Ok(outputs);
    }
    let (ids, segments) = pack(rows(), tape.kernels().device())?;
    let encoded = model.encode(tape, &ids, &segments)?;
    let mut cache = model.start(tape, &encoded, &segments)?;
    drop(encoded);
    let (start, end) = (model.config.decoder_start_token_id, model.config.eos_token_id);
    let mut samplers: Vec<Option<LogitsProcessor>> =
        (0..sources.len()).map(|row| options.sampling.as_ref().map(|sampling| sampling.processor(row))).collect();
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
