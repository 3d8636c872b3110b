use std::time::Instant;

use anyhow::Result;
use tallow_data::Sample;
use tallow_ops::Randomness;
use tallow_peft::{Initial, inject};
use tallow_t5::T5;

use crate::compute::Compute;
use crate::config::Config;

/// Of rows that are timed on the CPU, the floating-point operations of their forward passes: about a second's.
const TIMED: f64 = 1e11;

/// Seconds for each floating-point operation of a forward pass, with all that training does for it; timed over some of a
/// batch's rows of these lengths, forward and backward, behind a first time that fetches the weights.
pub fn seconds_per_operation(
    compute: &Compute,
    base: &T5,
    config: &Config,
    batch: &[(usize, usize)],
) -> Result<f64> {
    let engine = &compute.engine;
    let adapted = inject(base.clone(), &config.method, Initial::Seed(0), compute.dtype)?;
    let operations = |&(source, target): &(usize, usize)| base.config.forward_flops(source, target);
    let most = if base.device().is_cpu() { TIMED } else { f64::INFINITY };
    let mut sum = 0.0;
    let rows = batch.iter().enumerate().take_while(|(i, row)| {
        sum += operations(row);
        *i < engine.threads() || sum <= most
    });
    let lengths: Vec<(usize, usize)> = rows.map(|(_, row)| *row).collect();
    let samples: Vec<Sample> = lengths
        .iter()
        .map(|&(source, target)| Sample { source: vec![1; source], target: vec![1; target] })
        .collect();
    let rows: Vec<&Sample> = samples.iter().collect();
    let gradients = adapted.parameters.gradients()?;
    let randomness = |shard: u64| Randomness::new(0, 0, shard);
    let mut seconds = 0.0;
    for _ in 0..2 {
        let begin = Instant::now();
        let loss = engine.accumulate(
            &adapted.model,
            &adapted.parameters,
            &rows,
            0.0,
            Some(&randomness),
            &gradients,
        )?;
        engine.read(&loss)?;
        seconds = begin.elapsed().as_secs_f64();
    }
    Ok(seconds / lengths.iter().map(operations).sum::<f64>())
}
