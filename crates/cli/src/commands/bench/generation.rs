use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use tallow_data::Sample;
use tallow_t5::{GenerationOptions, T5};

use super::profile::Profile;
use super::{megabytes, round};
use crate::args::BenchArguments;
use crate::compute::Compute;
use crate::config::Problems;
use crate::progress;

/// Times generation for the batches' sources.
pub fn run(
    arguments: &BenchArguments,
    compute: &Compute,
    model: &T5,
    batches: &[Vec<Sample>],
    tokens: usize,
) -> Result<()> {
    let options =
        GenerationOptions { max_new_tokens: tokens, num_beams: arguments.beams, ..Default::default() };
    Problems::refuse("generation settings", options.problems())?;
    let engine = &compute.engine;
    let mut profile = arguments.trace.then(|| Profile::new(engine, compute.dtype));
    let (mut seconds, mut generated, mut outputs) = (0.0, 0, Vec::new());
    for step in 0..arguments.warmup + arguments.steps {
        let batch = &batches[step % batches.len()];
        let sources: Vec<&[u32]> = batch.iter().map(|row| row.source.as_slice()).collect();
        if let (Some(profile), true) = (&mut profile, step >= arguments.warmup) {
            profile.before_step()?;
        }
        let begin = Instant::now();
        let answers = engine.generate(model, &sources, &options, sources.len(), &|_| ())?;
        if step >= arguments.warmup {
            seconds += begin.elapsed().as_secs_f64();
            generated += answers.iter().map(Vec::len).sum::<usize>();
        }
        outputs.push(answers);
    }
    if let Some(profile) = profile {
        profile.report(seconds);
    }
    let result = json!({
        "peer": "tallow",
        "device": compute.device_name(),
        "dtype": compute.dtype_name(),
        "beams": arguments.beams,
        "steps": arguments.steps,
        "seconds": round(seconds, 3),
        "new_tokens": generated,
        "new_tokens_per_s": round(generated as f64 / seconds, 1),
        "peak_memory_mb": compute.engine.peak_memory().map(|bytes| megabytes(bytes as f64)),
        "outputs": outputs,
    });
    progress::print(&result.to_string())
}
