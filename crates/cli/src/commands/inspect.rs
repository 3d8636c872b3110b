use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use serde::Serialize;
use tallow_data::Sample;
use tallow_peft::{AdapterFile, FullOptions, LoraOptions, Method, is_adapter};
use tallow_t5::{Activation, T5};
use tallow_train::{BatchTokens, Engine, TOKENS_ON_HOST, resident_memory};

use crate::args::InspectArguments;
use crate::compute::Compute;
use crate::config::{load, threads};
use crate::data::{Task, adapt, check_vocabulary, model, tokenizer};
use crate::progress::{self, size};
use crate::run::RunFolder;

/// What is shown; sizes are in bytes.
#[derive(Default, Serialize)]
struct Report {
    model: Option<ModelReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<AdapterReport>,
    /// What training takes: of a config its own method, else some that there are.
    training: Vec<TrainingReport>,
}

#[derive(Serialize)]
struct ModelReport {
    path: String,
    geometry: String,
    parameters: usize,
    bytes_on_disk: u64,
}

#[derive(Serialize)]
struct AdapterReport {
    path: String,
    method: String,
    parameters: usize,
    bytes_on_disk: u64,
    base: Option<String>,
}

#[derive(Serialize)]
struct TrainingReport {
    method: String,
    /// Over which rows.
    rows: String,
    trainable: usize,
    /// Of the model's parameters.
    share: f64,
    /// What is trained, in f32 on disk.
    bytes_on_disk: usize,
    weights_bytes: u64,
    trained_bytes: u64,
    activation_bytes: u64,
    /// The most that the process, or the device, takes at a time.
    peak_bytes: u64,
}

pub fn run(arguments: &InspectArguments) -> Result<()> {
    let path = &arguments.path;
    let report = if path.is_file() {
        of_config(arguments, path)?
    } else if is_adapter(path) {
        of_adapter(arguments, path)?
    } else if RunFolder::is_run(path) {
        let (folder, _) = RunFolder::open(path)?;
        of_config(arguments, &folder.config())?
    } else if path.join("config.json").is_file() {
        let base = model(path, &Device::Cpu, DType::F32)?;
        let lora = Method::Lora(LoraOptions::default());
        let methods = [lora, Method::Full(FullOptions {})];
        Report {
            training: supposed(arguments, &base, &methods)?,
            model: Some(describe(path, &base)?),
            adapter: None,
        }
    } else if path.is_dir() {
        bail!(
            "{}: neither a model (config.json), an adapter (adapter_config.json) nor a run (config.toml)",
            path.display()
        )
    } else {
        bail!("{}: no such file or folder", path.display())
    };
    progress::print(&if arguments.json { serde_json::to_string(&report)? } else { table(&report) })
}

fn of_config(arguments: &InspectArguments, file: &Path) -> Result<Report> {
    let config = load(file, &arguments.overrides)?;
    let compute = Compute::open(&config.compute(), config.threads())?;
    let tokenizer = tokenizer(&config.model)?;
    let mut base = model(&config.model.path, compute.device(), compute.loads_in(&config.method))?;
    check_vocabulary(&tokenizer, &config.model, &base)?;
    let task = Task::load(&config, &tokenizer, &|_| ())?;
    base.training.checkpointing = config.training.checkpointing;
    let mut options = config.training.clone();
    if options.batch().is_none() {
        options.batch_tokens = Some(BatchTokens::Tokens(TOKENS_ON_HOST));
    }
    let lengths: Vec<(usize, usize)> = task.train.samples.iter().map(Sample::lengths).collect();
    let batches = options.batches(lengths.clone(), config.seed)?;
    let count = options.total_batches(&batches);
    let rows = format!("the heaviest of {count} batches");
    let batches =
        batches.from_step(0).take(count).map(|(_, rows)| rows.iter().map(|&row| lengths[row]).collect());
    let training = foresee(&compute.engine, &base, &config.method, batches, rows)?;
    Ok(Report { model: Some(describe(&config.model.path, &base)?), adapter: None, training: vec![training] })
}

fn of_adapter(arguments: &InspectArguments, folder: &Path) -> Result<Report> {
    let file = AdapterFile::open(folder)?;
    let adapter = AdapterReport {
        path: folder.display().to_string(),
        method: name(&file.method),
        parameters: file.parameters(),
        bytes_on_disk: bytes_on_disk(folder)?,
        base: file.base.clone(),
    };
    let named = file.base.as_ref().map(Path::new).filter(|base| base.join("config.json").is_file());
    let Some(path) = arguments.model.as_deref().or(named) else {
        return Ok(Report { adapter: Some(adapter), ..Report::default() });
    };
    let base = model(path, &Device::Cpu, DType::F32)?;
    // Refuses one that is not of this base.
    adapt(base.clone(), folder)?;
    Ok(Report {
        model: Some(describe(path, &base)?),
        adapter: Some(adapter),
        training: supposed(arguments, &base, &[file.method])?,
    })
}

/// Training over a batch as the arguments have it.
fn supposed(arguments: &InspectArguments, base: &T5, methods: &[Method]) -> Result<Vec<TrainingReport>> {
    let InspectArguments { batch_size, source_tokens, target_tokens, .. } = *arguments;
    let engine = Engine::cpu(threads(arguments.threads));
    let rows = format!("{batch_size} rows of {source_tokens} and {target_tokens} tokens");
    let batch = || std::iter::once(vec![(source_tokens, target_tokens); batch_size]);
    methods.iter().map(|method| foresee(&engine, base, method, batch(), rows.clone())).collect()
}

fn foresee(
    engine: &Engine,
    base: &T5,
    method: &Method,
    batches: impl Iterator<Item = Vec<(usize, usize)>>,
    rows: String,
) -> Result<TrainingReport> {
    let memory = engine.training_memory(base, method, batches)?;
    // What the process has by now, its rows included, it will have then.
    let resident = if base.device().is_cpu() { resident_memory().unwrap_or_default() } else { 0 };
    Ok(TrainingReport {
        method: name(method),
        rows,
        trainable: memory.trainable,
        share: memory.trainable as f64 / base.parameters() as f64,
        bytes_on_disk: 4 * memory.trainable,
        weights_bytes: memory.weights as u64,
        trained_bytes: memory.trained as u64,
        activation_bytes: memory.activations as u64,
        peak_bytes: (resident as f64 + memory.total()) as u64,
    })
}

fn describe(path: &Path, base: &T5) -> Result<ModelReport> {
    let config = &base.config;
    let activation = match config.activation {
        Activation::Relu => "relu",
        Activation::GatedGelu => "gated GELU",
    };
    let head = if base.is_tied() { "the embedding" } else { "its own" };
    let geometry = format!(
        "{} + {} blocks, width {}, {} heads of {}, feed-forward {} ({activation}), vocabulary {}, head: {head}",
        config.num_layers,
        config.num_decoder_layers,
        config.d_model,
        config.num_heads,
        config.d_kv,
        config.d_ff,
        config.vocab_size,
    );
    Ok(ModelReport {
        path: path.display().to_string(),
        geometry,
        parameters: base.parameters(),
        bytes_on_disk: bytes_on_disk(path)?,
    })
}

/// The safetensors files of a folder.
fn bytes_on_disk(folder: &Path) -> Result<u64> {
    let fail = || format!("{}: cannot read", folder.display());
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(fail)? {
        let entry = entry.with_context(fail)?;
        if entry.path().extension().is_some_and(|extension| extension == "safetensors") {
            bytes += std::fs::metadata(entry.path()).with_context(fail)?.len();
        }
    }
    Ok(bytes)
}

/// A method in words.
pub fn name(method: &Method) -> String {
    match method {
        Method::Lora(LoraOptions { rank, target_modules, .. }) => {
            format!("LoRA of rank {rank} on {target_modules}")
        }
        Method::Full(_) => "every weight".to_owned(),
    }
}

fn table(report: &Report) -> String {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: String| lines.push(format!("{key:<12}{value}"));
    if let Some(model) = &report.model {
        line("model", model.path.clone());
        line("", model.geometry.clone());
        line("", format!("{} parameters, {} on disk", count(model.parameters), size(model.bytes_on_disk)));
    }
    if let Some(adapter) = &report.adapter {
        line("adapter", adapter.path.clone());
        let on_disk = size(adapter.bytes_on_disk);
        line("", format!("{}, {} parameters, {on_disk} on disk", adapter.method, count(adapter.parameters)));
        if report.model.is_none() {
            let base = adapter.base.as_deref().unwrap_or("not named");
            line("", format!("its base ({base}) is not here: give it by --model DIR"));
        }
    }
    for training in &report.training {
        line("training", format!("{}, {}", training.method, training.rows));
        let (trainable, share) = (count(training.trainable), 100.0 * training.share);
        let on_disk = size(training.bytes_on_disk as u64);
        line("", format!("{trainable} parameters trained, {share:.2}% of the model, {on_disk} on disk"));
        line(
            "",
            format!(
                "about {} of memory: {}trained and its moments {}, activations {}",
                size(training.peak_bytes),
                // With every weight trained there are no others.
                match training.weights_bytes {
                    0 => String::new(),
                    bytes => format!("weights {}, ", size(bytes)),
                },
                size(training.trained_bytes),
                size(training.activation_bytes),
            ),
        );
    }
    lines.join("\n")
}

/// A number with its thousands apart.
fn count(n: usize) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}
