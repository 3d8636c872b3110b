//! Training through two kinds of kernels.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use tallow_data::{Limits, Prompts, Rows, Sample, Targets, TemplateSet, Tokenizer};
use tallow_ops::{AdamW, Kernels, Randomness, Update};
use tallow_peft::{Adapted, Initial, LoraOptions, Method, inject};
use tallow_t5::T5;
use tallow_train::{Engine, Result};

/// A model folder's rows, in batches of eight, as the quickstart has them.
///
/// # Errors
/// If a file cannot be read.
pub fn batches(model: &Path, rows: &Path) -> anyhow::Result<Vec<Vec<Sample>>> {
    let tokenizer = Tokenizer::from_file(&model.join("tokenizer.json"))?;
    let prompts = Prompts::new(TemplateSet::named("dialogue-summary")?, Targets::Template, 0);
    let examples = prompts.examples(Rows::open(rows)?)?;
    let (samples, _) = tokenizer.tokenize(&examples[..], Limits { source: 512, target: 128 })?;
    Ok(samples.read_all()?.chunks(8).map(<[Sample]>::to_vec).collect())
}

/// The model with a fresh LoRA, which has B = 0.
///
/// # Errors
/// If the model cannot be loaded.
pub fn adapted(model: &Path, kernels: &Arc<dyn Kernels>, dtype: DType) -> anyhow::Result<Adapted> {
    let base = T5::load(model, kernels.device(), dtype)?;
    Ok(inject(base, &Method::Lora(LoraOptions::default()), Initial::Seed(3), dtype)?)
}

/// The gradient of one batch with dropout.
///
/// # Errors
/// If the model fails.
pub fn gradient(engine: &Engine, adapted: &Adapted, rows: &[Sample]) -> Result<Tensor> {
    let rows: Vec<&Sample> = rows.iter().collect();
    let gradients = adapted.parameters.gradients()?;
    let randomness = |shard: u64| Randomness::new(1, 1, shard);
    let (model, parameters) = (&adapted.model, &adapted.parameters);
    engine.accumulate(model, parameters, &rows, 0.1, Some(&randomness), &gradients)?;
    Ok(gradients)
}

/// The mean loss of each of `steps` steps without dropout.
///
/// # Errors
/// If the model fails.
pub fn losses(engine: &Engine, adapted: &Adapted, batches: &[Vec<Sample>], steps: usize) -> Result<Vec<f64>> {
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let gradients = adapted.parameters.gradients()?;
    let mut losses = Vec::with_capacity(steps);
    for (step, batch) in (1..=steps).zip(batches.iter().cycle()) {
        let rows: Vec<&Sample> = batch.iter().collect();
        let count = rows.iter().map(|row| row.target.len()).sum::<usize>() as f64;
        let loss = engine.accumulate(&adapted.model, &adapted.parameters, &rows, 0.0, None, &gradients)?;
        let update = Update {
            step: step as u64,
            learning_rate: 1e-3,
            gradient_scale: 1.0 / count,
            max_grad_norm: 1.0,
        };
        adamw.step(&**engine.kernels(), &adapted.parameters, &gradients, update)?;
        losses.push(engine.read(&loss)?.into_iter().sum::<f64>() / count);
    }
    Ok(losses)
}
