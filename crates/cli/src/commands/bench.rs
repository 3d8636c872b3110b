mod generation;
mod profile;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;
use tallow_data::Sample;
use tallow_hub::Wanted;
use tallow_ops::{AdamW, Update};
use tallow_peft::{Adapted, FullOptions, Initial, LoraOptions, Method, PromptOptions, TargetModules, inject};
use tallow_t5::T5;
use tallow_train::resident_memory;

use self::profile::Profile;
use crate::args::BenchArguments;
use crate::compute::Compute;
use crate::config::{self, ComputeOptions, ModelOptions, Problems, threads};
use crate::data::{self, adapt, model, tokenizer};
use crate::given;
use crate::hub;
use crate::progress;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    source: Vec<Vec<u32>>,
    target: Vec<Vec<u32>>,
}

impl Batch {
    fn rows(self) -> Vec<Sample> {
        self.source.into_iter().zip(self.target).map(|(source, target)| Sample { source, target }).collect()
    }
}

pub fn run(arguments: &BenchArguments) -> Result<()> {
    given::model("", Some(&arguments.model))?;
    given::file("", Some(&arguments.batches))?;
    given::adapter("--adapter", arguments.adapter.as_deref())?;
    let options = arguments.compute.over(ComputeOptions::default());
    let compute = Compute::open(&options, threads(arguments.threads))?;
    let method = with_tokens(arguments, method(arguments)?)?;
    let mut base = model(&arguments.model, compute.device(), compute.loads_in(&method))?;
    base.training.checkpointing = arguments.checkpointing;
    let batches = read(&arguments.batches, &base)?;
    progress::detail(|| format!("loaded the model and {} batches; {}", batches.len(), compute.kernels()));
    let resident = resident_memory();
    match (&arguments.adapter, arguments.generate) {
        (Some(folder), Some(tokens)) => {
            generation::run(arguments, &compute, &adapt(base, folder)?.model, &batches, tokens)
        }
        (None, Some(tokens)) => generation::run(arguments, &compute, &base, &batches, tokens),
        (Some(folder), None) => training(arguments, &compute, &adapt(base, folder)?, &batches, resident),
        (None, None) => {
            let adapted = inject(base, &method, Initial::Seed(0), compute.dtype)?;
            training(arguments, &compute, &adapted, &batches, resident)
        }
    }
}

/// Times training steps of a process that had `resident` bytes before.
fn training(
    arguments: &BenchArguments,
    compute: &Compute,
    adapted: &Adapted,
    batches: &[Vec<Sample>],
    resident: Option<usize>,
) -> Result<()> {
    let engine = &compute.engine;
    let lengths = batches.iter().map(|rows| rows.iter().map(Sample::lengths).collect());
    let lengths: Vec<Vec<(usize, usize)>> =
        lengths.cycle().take(arguments.warmup + arguments.steps).collect();
    let (model, method) = (&adapted.model, &adapted.method);
    let foreseen = engine.training_memory(model, method, lengths, model.dtype())?;
    let foreseen = resident.map(|resident| megabytes(resident as f64 + foreseen.total()));
    let gradients = adapted.parameters.gradients()?;
    // The peer's optimiser: AdamW without decay, the gradient clipped to norm 1, no dropout.
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let (mut losses, mut rates) = (Vec::new(), Vec::new());
    let (mut seconds, mut real, mut padded) = (0.0, 0, 0);
    let mut profile = arguments.trace.then(|| Profile::new(engine, compute.dtype));
    for step in 0..arguments.warmup + arguments.steps {
        let rows: Vec<&Sample> = batches[step % batches.len()].iter().collect();
        if let (Some(profile), true) = (&mut profile, step >= arguments.warmup) {
            profile.before_step()?;
        }
        let begin = Instant::now();
        let count = rows.iter().map(|row| row.target.len()).sum::<usize>() as f64;
        let loss = engine.accumulate(&adapted.model, &adapted.parameters, &rows, 0.0, None, &gradients)?;
        let update = Update {
            step: step as u64 + 1,
            learning_rate: arguments.lr,
            gradient_scale: 1.0 / count,
            max_grad_norm: 1.0,
        };
        adamw.step(&**engine.kernels(), &adapted.parameters, &gradients, update)?;
        // Every step's loss is read back, as the peer does.
        losses.push(engine.read(&loss)?.into_iter().sum::<f64>() / count);
        if step >= arguments.warmup {
            let elapsed = begin.elapsed().as_secs_f64();
            let tokens: usize = rows.iter().map(|row| row.source.len() + row.target.len()).sum();
            let longest =
                |length: fn(&Sample) -> usize| rows.iter().map(|row| length(row)).max().unwrap_or(0);
            padded += rows.len() * (longest(|row| row.source.len()) + longest(|row| row.target.len()));
            rates.push(tokens as f64 / elapsed);
            seconds += elapsed;
            real += tokens;
        }
    }
    if let Some(profile) = profile {
        profile.report(seconds);
    }
    rates.sort_by(f64::total_cmp);
    let result = json!({
        "peer": "tallow",
        "torch": null,
        "device": compute.device_name(),
        "dtype": compute.dtype_name(),
        "attn": "segments",
        "compile": false,
        "steps": arguments.steps,
        "seconds": round(seconds, 3),
        "real_tokens_per_s": round(real as f64 / seconds, 1),
        "padded_tokens_per_s": round(padded as f64 / seconds, 1),
        "median_real_tokens_per_s": round(rates[rates.len() / 2], 1),
        "peak_memory_mb": compute.engine.peak_memory().map(|bytes| megabytes(bytes as f64)),
        "foreseen_memory_mb": foreseen,
        "trainable": adapted.parameters.trainable(),
        "losses": losses,
    });
    progress::print(&result.to_string())
}

fn megabytes(bytes: f64) -> u64 {
    (bytes / 1e6).round() as u64
}

fn round(x: f64, digits: i32) -> f64 {
    (x * 10f64.powi(digits)).round() / 10f64.powi(digits)
}

fn read(path: &Path, model: &T5) -> Result<Vec<Vec<Sample>>> {
    let file = path.display();
    let text = given::text(&hub::local(path, Wanted::Files)?)?;
    let mut batches = Vec::new();
    for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = line + 1;
        let batch: Batch = serde_json::from_str(text)
            .with_context(|| format!("{file}:{line}: not a batch of source and target"))?;
        let (sources, targets) = (batch.source.len(), batch.target.len());
        if sources != targets || sources == 0 {
            bail!(
                "{file}:{line}: {sources} sources and {targets} targets; a batch has as many of each, from 1"
            );
        }
        let rows = batch.rows();
        if rows.iter().any(|row| row.source.is_empty() || row.target.is_empty()) {
            bail!("{file}:{line}: a row without tokens");
        }
        let ids = rows.iter().flat_map(|row| row.source.iter().chain(&row.target));
        model.check_ids(ids).with_context(|| format!("{file}:{line}"))?;
        batches.push(rows);
    }
    if batches.is_empty() {
        bail!("{file}: holds no batches");
    }
    Ok(batches)
}

/// What is trained where no adapter is given.
fn method(arguments: &BenchArguments) -> Result<Method> {
    if let Some(text) = &arguments.method {
        return config::method(text);
    }
    let lora = LoraOptions {
        rank: arguments.rank,
        alpha: arguments.alpha,
        target_modules: TargetModules::Suffixes(arguments.targets.clone()),
        ..LoraOptions::default()
    };
    let method = if arguments.full { Method::Full(FullOptions {}) } else { Method::Lora(lora) };
    Problems::refuse("the fresh adapter", method.problems())?;
    Ok(method)
}

/// The method, with the tokens of the text that it starts from, if it does.
fn with_tokens(arguments: &BenchArguments, method: Method) -> Result<Method> {
    match &method {
        Method::Prompt(PromptOptions { prompt_tuning_init_text: Some(_), .. }) => {
            let model = ModelOptions { path: arguments.model.clone(), tokenizer: None };
            data::method(&method, &tokenizer(&model)?)
        }
        _ => Ok(method),
    }
}
