mod example;
mod memory;

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use serde::Serialize;
use tallow_hub::Wanted;
use tallow_peft::{AdapterFile, DoraOptions, FullOptions, LoraOptions, Method, Sketch, is_adapter, sketch};
use tallow_report::NearToken;
use tallow_t5::{Activation, GenerationOptions, T5};
use tallow_train::{BatchTokens, Engine, TOKENS_ON_HOST};

use self::example::Example;
use self::memory::Memory;
use crate::args::InspectArguments;
use crate::compute::Compute;
use crate::config::{self, ModelOptions, load, threads};
use crate::data::{Task, adapt, check_vocabulary, model, task_tokenizer, tokenizer};
use crate::given::{self, Misuse};
use crate::hub;
use crate::progress::{self, count, size};
use crate::prompt::{nearest, nearest_of_run};
use crate::run::RunFolder;

/// What is shown; sizes are in bytes.
#[derive(Default, Serialize)]
struct Report {
    model: Option<ModelReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<AdapterReport>,
    /// What training takes: of a config its own method, else some that there are.
    training: Vec<TrainingReport>,
    /// What generating for prompts takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<GenerationReport>,
    /// The tokens nearest to each virtual token of a prompt, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompt: Vec<Vec<NearToken>>,
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
pub struct TrainingReport {
    pub method: String,
    /// Over which rows.
    rows: String,
    pub trainable: usize,
    /// Of the model's parameters.
    pub share: f64,
    /// Of what it leaves, f32.
    bytes_on_disk: usize,
    /// Of LoRA and DoRA.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Example>,
    pub memory: Vec<Memory>,
}

#[derive(Serialize)]
struct GenerationReport {
    /// For which prompts.
    rows: String,
    memory: Vec<Memory>,
}

pub fn run(arguments: &InspectArguments) -> Result<()> {
    given::model("--model", arguments.model.as_deref())?;
    let found = hub::local(&arguments.path, Wanted::ModelOrAdapter)?;
    let path = found.as_ref();
    let is_model = path.join("config.json").is_file() && !is_adapter(path);
    if !arguments.methods.is_empty() && !is_model {
        let path = path.display();
        bail!(Misuse(format!("--method is of a model's folder; {path} says what its method is")));
    }
    let report = if path.is_file() {
        of_config(arguments, path)?
    } else if is_adapter(path) {
        of_adapter(arguments, path)?
    } else if RunFolder::is_run(path) {
        let (folder, config) = RunFolder::open(path)?;
        let prompt = match arguments.neighbours {
            Some(most) => nearest_of_run(&config, &folder.trained_by_now(&config)?, most)?,
            None => Vec::new(),
        };
        Report { prompt, ..of_config(arguments, &folder.config())? }
    } else if is_model {
        let methods = arguments.methods.iter().map(|text| config::method(text));
        let mut methods = methods.collect::<Result<Vec<Method>>>()?;
        if methods.is_empty() {
            methods = vec![Method::Lora(LoraOptions::default()), Method::Full(FullOptions {})];
        }
        let base = model(path, &Device::Cpu, DType::F32)?;
        Report { model: Some(describe(&arguments.path, &base)?), ..supposed(arguments, &base, &methods)? }
    } else if path.is_dir() {
        bail!(Misuse(format!(
            "{}: neither a model (config.json), an adapter (adapter_config.json) nor a run (config.toml)",
            path.display()
        )))
    } else {
        bail!(Misuse(format!("{}: no such file or folder{}", path.display(), hub::meant(path))))
    };
    if arguments.neighbours.is_some() && report.prompt.is_empty() {
        let path = path.display();
        bail!(Misuse(format!("--neighbours is of a prompt's adapter or run, and {path} is none")));
    }
    progress::print(&if arguments.json { serde_json::to_string(&report)? } else { table(&report) })
}

fn of_config(arguments: &InspectArguments, file: &Path) -> Result<Report> {
    let config = load(file, &arguments.overrides)?;
    let compute = Compute::open(&config.compute(), config.threads())?;
    let tokenizer = task_tokenizer(&config)?;
    let mut base = model(&config.model.path, compute.device(), compute.loads_in(&config.method))?;
    check_vocabulary(&tokenizer, &config.model, &base)?;
    let task = Task::load(&config, &tokenizer, &|_| ())?;
    base.training.checkpointing = config.training.checkpointing;
    let mut options = config.training.clone();
    if options.batch().is_none() {
        options.batch_tokens = Some(BatchTokens::Tokens(TOKENS_ON_HOST));
    }
    let lengths = task.train.all_lengths();
    let batches = options.batches(lengths.clone(), config.seed)?;
    let count = options.total_batches(&batches);
    let rows = format!("the heaviest of {count} batches");
    let batches = batches.from_step(0).take(count);
    let batches: Vec<Vec<_>> =
        batches.map(|(_, rows)| rows.iter().map(|&row| lengths[row]).collect()).collect();
    let training = foresee(&compute.engine, &base, &config.method, &batches, rows)?;
    let prompts: Vec<&str> = task.held_out.iter().map(|row| row.prompt.as_str()).collect();
    let encoded = tokenizer.encode_batch(&prompts, config.task().max_source_tokens)?;
    let sources: Vec<usize> = encoded.iter().map(|source| source.ids.len()).collect();
    let (options, most) = (&config.evaluation.generation, config.evaluation.batch_size);
    let adapted = sketch(base.clone(), &config.method)?.model;
    let generation = sources.iter().max().map(|longest| GenerationReport {
        rows: format!(
            "{} held-out rows, {most} at a time on a thread, the longest of {longest} tokens, {} new ones",
            sources.len(),
            options.max_new_tokens
        ),
        memory: memory::generation(&compute.engine, &adapted, &sources, options, most),
    });
    let model = Some(describe(&config.model.path, &base)?);
    Ok(Report { model, training: vec![training], generation, ..Report::default() })
}

fn of_adapter(arguments: &InspectArguments, folder: &Path) -> Result<Report> {
    let file = AdapterFile::open(folder)?;
    let adapter = AdapterReport {
        path: arguments.path.display().to_string(),
        method: file.method.to_string(),
        parameters: file.parameters(),
        bytes_on_disk: bytes_on_disk(folder)?,
        base: file.base.as_ref().map(|base| base.name.clone()),
    };
    let named = || {
        // One that cannot be had is no reason to show nothing.
        let base = hub::base_of(&file)?;
        hub::local(&base, Wanted::Model).map_err(|error| progress::say(&error.to_string())).ok()?;
        Some(base)
    };
    let Some(path) = &arguments.model.clone().or_else(named) else {
        return Ok(Report { adapter: Some(adapter), ..Report::default() });
    };
    let base = model(path, &Device::Cpu, DType::F32)?;
    // Refuses one that is not of this base.
    let adapted = adapt(base.clone(), folder)?;
    let prompt = match arguments.neighbours {
        Some(most) => {
            let base = ModelOptions { path: path.clone(), tokenizer: None };
            nearest(&adapted.model, &tokenizer(&base)?, most)?
        }
        None => Vec::new(),
    };
    let model = Some(describe(path, &base)?);
    Ok(Report { model, adapter: Some(adapter), prompt, ..supposed(arguments, &base, &[file.method])? })
}

/// Training over a batch as the arguments have it, and generation for its prompts.
fn supposed(arguments: &InspectArguments, base: &T5, methods: &[Method]) -> Result<Report> {
    let InspectArguments { batch_size, source_tokens, target_tokens, .. } = *arguments;
    let engine = Engine::cpu(threads(arguments.threads));
    let batch = vec![(source_tokens, target_tokens); batch_size];
    // A run looks up all of the vocabulary in time.
    let tokens = batch_size * (source_tokens + target_tokens);
    let batches = vec![batch; base.config.vocab_size.div_ceil(tokens)];
    let rows = format!("{batch_size} rows of {source_tokens} and {target_tokens} tokens");
    let training = methods.iter().map(|method| foresee(&engine, base, method, &batches, rows.clone()));
    let options = GenerationOptions { max_new_tokens: target_tokens, ..Default::default() };
    // Of one method, what it has trained generates.
    let generating = match methods {
        [method] => sketch(base.clone(), method)?.model,
        _ => base.clone(),
    };
    let generation = GenerationReport {
        rows: format!("{batch_size} prompts of {source_tokens} tokens, {target_tokens} new ones"),
        memory: memory::generation(
            &engine,
            &generating,
            &vec![source_tokens; batch_size],
            &options,
            batch_size,
        ),
    };
    Ok(Report {
        training: training.collect::<Result<_>>()?,
        generation: Some(generation),
        ..Report::default()
    })
}

pub fn foresee(
    engine: &Engine,
    base: &T5,
    method: &Method,
    batches: &[Vec<(usize, usize)>],
    rows: String,
) -> Result<TrainingReport> {
    let memory = memory::training(engine, base, method, batches)?;
    let Sketch { trainable, in_file, .. } = sketch(base.clone(), method)?;
    let example = match method {
        Method::Lora(options) | Method::Dora(DoraOptions(options)) => Example::largest(base, options)?,
        _ => None,
    };
    Ok(TrainingReport {
        method: method.to_string(),
        rows,
        trainable,
        share: trainable as f64 / base.parameters() as f64,
        bytes_on_disk: 4 * in_file,
        example,
        memory,
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
        bytes_on_disk: bytes_on_disk(&hub::local(path, Wanted::Model)?)?,
    })
}

/// The files of weights in a folder.
fn bytes_on_disk(folder: &Path) -> Result<u64> {
    let fail = || format!("{}: cannot read", folder.display());
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(fail)? {
        let entry = entry.with_context(fail)?;
        if entry.path().extension().is_some_and(|kind| kind == "safetensors" || kind == "bin") {
            bytes += std::fs::metadata(entry.path()).with_context(fail)?.len();
        }
    }
    Ok(bytes)
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
        training.example.iter().for_each(|example| line("", example.to_string()));
        training.memory.iter().for_each(|memory| line("", memory::line(memory)));
    }
    if let Some(generation) = &report.generation {
        line("generation", generation.rows.clone());
        generation.memory.iter().for_each(|memory| line("", memory::line(memory)));
    }
    for (number, nearest) in report.prompt.iter().enumerate() {
        let near = |near: &NearToken| format!("{} {:.2}", near.token, near.cosine);
        let near: Vec<String> = nearest.iter().map(near).collect();
        line(if number == 0 { "prompt" } else { "" }, format!("{:>3}  {}", number + 1, near.join("  ")));
    }
    if !report.training.is_empty() {
        line("", "* by the same formulas, not measured".to_owned());
    }
    lines.join("\n")
}
