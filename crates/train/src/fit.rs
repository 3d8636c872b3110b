//! How much fits into a batch.

use candle_core::Tensor;
use tallow_data::{Sample, Samples};
use tallow_ops::Randomness;
use tallow_peft::Adapted;

use crate::{Engine, Error, Result};

/// The tokens of a batch where the device does not say how much memory it has, as the CPU.
pub const TOKENS_ON_HOST: usize = 4096;

/// Of what was found to fit, the share that is used: memory is not handed out without gaps.
const SHARE: f64 = 0.9;

/// The most source and target tokens of a batch that the device has room for, found by trying: the longest rows, with
/// dropout, twice as many each time, and then halves of what is between. On the CPU, 4,096.
///
/// # Errors
/// If not even the longest row fits, or the model fails.
pub fn largest_batch(engine: &Engine, adapted: &Adapted, rows: &Samples) -> Result<usize> {
    if engine.kernels().memory().is_none() {
        return Ok(TOKENS_ON_HOST);
    }
    let tokens = |row: usize| {
        let (source, target) = rows.lengths(row);
        source + target
    };
    let mut longest: Vec<usize> = (0..rows.len()).collect();
    longest.sort_by_key(|&row| std::cmp::Reverse(tokens(row)));
    let all: usize = longest.iter().map(|&row| tokens(row)).sum();
    let Some(first) = longest.first().map(|&row| tokens(row)) else { return Ok(TOKENS_ON_HOST) };
    let gradients = adapted.parameters.gradients()?;
    attempt(engine, adapted, &rows.read(&longest[..1])?, &gradients)?;
    // The tokens that were tried, if they fit.
    let fitting = |most: usize| -> Result<Option<usize>> {
        let mut used = 0;
        let batch: Vec<usize> = longest
            .iter()
            .copied()
            .filter(|&row| {
                let fits = used + tokens(row) <= most;
                used += if fits { tokens(row) } else { 0 };
                fits
            })
            .collect();
        match attempt(engine, adapted, &rows.read(&batch)?, &gradients) {
            Ok(()) => Ok(Some(used)),
            Err(Error::OutOfMemory { .. }) => {
                engine.kernels().trim();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    let (mut good, mut tried, mut bad) = (first, first, None);
    while tried < all && bad.is_none() {
        tried = (2 * tried).min(all);
        match fitting(tried)? {
            Some(used) => good = used,
            None => bad = Some(tried),
        }
    }
    while let Some(most) = bad.filter(|most| *most as f64 > 1.06 * good as f64) {
        let middle = usize::midpoint(good, most);
        match fitting(middle)? {
            // Rows in between are too long to come nearer.
            Some(used) if used <= good => break,
            Some(used) => good = used,
            None => bad = Some(middle),
        }
    }
    Ok(if bad.is_none() { good } else { ((good as f64 * SHARE) as usize).max(first) })
}

/// One batch, forward and backward.
fn attempt(engine: &Engine, adapted: &Adapted, rows: &[Sample], gradients: &Tensor) -> Result<()> {
    let rows: Vec<&Sample> = rows.iter().collect();
    let randomness = |shard: u64| Randomness::new(0, 0, shard);
    let (model, parameters) = (&adapted.model, &adapted.parameters);
    let loss = engine.accumulate(model, parameters, &rows, 0.0, Some(&randomness), gradients)?;
    engine.read(&loss).map(drop)
}
