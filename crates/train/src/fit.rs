//! How much fits into a batch.

use tallow_data::Sample;
use tallow_ops::Randomness;
use tallow_peft::Adapted;

use crate::{Engine, Error, Result};

/// What is taken where the device does not say how much memory it has, as the CPU.
const TOKENS_ON_HOST: usize = 4096;

/// Of what was found to fit, the share that is used: memory is not handed out without gaps.
const SHARE: f64 = 0.9;

/// The most source and target tokens of a batch that the device has room for, found by trying: the longest rows, with
/// dropout, twice as many each time, and then halves of what is between. On the CPU, 4,096.
///
/// # Errors
/// If not even the longest row fits, or the model fails.
pub fn largest_batch(engine: &Engine, adapted: &Adapted, rows: &[Sample]) -> Result<usize> {
    if engine.kernels().memory().is_none() {
        return Ok(TOKENS_ON_HOST);
    }
    let mut longest: Vec<&Sample> = rows.iter().collect();
    longest.sort_by_key(|row| std::cmp::Reverse(tokens(row)));
    let all: usize = longest.iter().map(|row| tokens(row)).sum();
    let Some(first) = longest.first().map(|row| tokens(row)) else { return Ok(TOKENS_ON_HOST) };
    attempt(engine, adapted, &longest[..1])?;
    let fits = |most: usize| -> Result<bool> {
        let mut used = 0;
        let batch: Vec<&Sample> = longest
            .iter()
            .copied()
            .take_while(|row| {
                used += tokens(row);
                used <= most
            })
            .collect();
        match attempt(engine, adapted, &batch) {
            Ok(()) => Ok(true),
            Err(Error::OutOfMemory { .. }) => {
                engine.kernels().trim();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    };
    let (mut good, mut bad) = (first, None);
    while good < all && bad.is_none() {
        let next = (2 * good).min(all);
        if fits(next)? { good = next } else { bad = Some(next) }
    }
    while let Some(most) = bad.filter(|most| *most as f64 > 1.06 * good as f64) {
        let middle = usize::midpoint(good, most);
        if fits(middle)? { good = middle } else { bad = Some(middle) }
    }
    Ok(if bad.is_none() { good } else { ((good as f64 * SHARE) as usize).max(first) })
}

fn tokens(row: &Sample) -> usize {
    row.source.len() + row.target.len()
}

/// One batch, forward and backward.
fn attempt(engine: &Engine, adapted: &Adapted, rows: &[&Sample]) -> Result<()> {
    let gradients = adapted.parameters.gradients()?;
    let randomness = |shard: u64| Randomness::new(0, 0, shard);
    let (model, parameters) = (&adapted.model, &adapted.parameters);
    let loss = engine.accumulate(model, parameters, rows, 0.0, Some(&randomness), &gradients)?;
    engine.read(&loss).map(drop)
}
