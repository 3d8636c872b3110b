use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use tallow_data::{Prompts, Targets, TemplateSet, read_rows};
use tallow_peft::Adapted;
use tallow_t5::{GenerationOptions, SamplingOptions};
use tallow_train::Engine;

use crate::args::GenerateArguments;
use crate::config::{Config, ModelOptions, Problems, load};
use crate::data::{check_vocabulary, model, tokenizer};
use crate::progress;
use crate::run::trained;

pub fn run(arguments: &GenerateArguments) -> Result<()> {
    let run = arguments.run.as_ref().map(|run| load(&run.join("config.toml"), &[])).transpose()?;
    let options = generation(arguments, run.as_ref())?;
    let (folder, adapter) = places(arguments, run.as_ref());
    let tokenizer_file = arguments.tokenizer.clone().or_else(|| run.as_ref().map(|run| run.model.tokenizer_file()));
    let model_options = ModelOptions { path: folder, tokenizer: tokenizer_file };
    let tokenizer = tokenizer(&model_options)?;
    let prompts = prompts(arguments, run.as_ref())?;

    let base = model(&model_options.path)?;
    check_vocabulary(&tokenizer, &model_options, &base)?;
    let model = match &adapter {
        Some(folder) => {
            let adapted = Adapted::load(base, folder, &Device::Cpu);
            adapted.with_context(|| format!("cannot load the adapter in {}", folder.display()))?.model
        }
        None => base,
    };
    let limit = run.as_ref().map_or(arguments.max_source_tokens, |run| run.task().max_source_tokens);
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let encoded = tokenizer.encode_batch(&texts, limit)?;
    let sources: Vec<&[u32]> = encoded.iter().map(|source| source.ids.as_slice()).collect();
    let cut: usize = encoded.iter().filter(|source| source.cut > 0).count();
    if cut > 0 {
        eprintln!("{cut} of {} prompts were cut to {limit} tokens", prompts.len());
    }
    let threads = match arguments.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let bar = progress::rows(sources.len(), "prompts");
    let done = |rows: usize| bar.inc(rows as u64);
    let answers = Engine::cpu(threads).generate(&model, &sources, &options, arguments.batch_size, &done)?;
    bar.finish_and_clear();
    for ids in answers {
        println!("{}", tokenizer.decode(&ids)?);
    }
    Ok(())
}

/// The model's folder, and the adapter's if there is one.
fn places(arguments: &GenerateArguments, run: Option<&Config>) -> (PathBuf, Option<PathBuf>) {
    match run {
        Some(run) if run.method.has_adapter() => (run.model.path.clone(), Some(trained(run))),
        Some(run) => (trained(run), None),
        None => (arguments.model.clone().unwrap_or_default(), arguments.adapter.clone()),
    }
}

fn generation(arguments: &GenerateArguments, run: Option<&Config>) -> Result<GenerationOptions> {
    let mut options = run.map(|run| run.evaluation.generation.clone()).unwrap_or_default();
    let set = |to: &mut usize, from: Option<usize>| *to = from.unwrap_or(*to);
    set(&mut options.max_new_tokens, arguments.max_new_tokens);
    set(&mut options.min_new_tokens, arguments.min_new_tokens);
    set(&mut options.no_repeat_ngram_size, arguments.no_repeat_ngram_size);
    options.repetition_penalty = arguments.repetition_penalty.unwrap_or(options.repetition_penalty);
    let draws = arguments.temperature.is_some() || arguments.top_k.is_some() || arguments.top_p.is_some();
    if draws || arguments.seed.is_some() {
        let mut sampling = options.sampling.take().unwrap_or_else(SamplingOptions::default);
        sampling.temperature = arguments.temperature.unwrap_or(sampling.temperature);
        sampling.top_k = arguments.top_k.or(sampling.top_k);
        sampling.top_p = arguments.top_p.or(sampling.top_p);
        sampling.seed = arguments.seed.unwrap_or(sampling.seed);
        options.sampling = Some(sampling);
    }
    let found: Vec<_> =
        options.problems().into_iter().map(|(key, what)| (None, key.to_owned(), what)).collect();
    match found.is_empty() {
        true => Ok(options),
        false => Err(Problems { file: "generation settings".into(), found }.into()),
    }
}

fn prompts(arguments: &GenerateArguments, run: Option<&Config>) -> Result<Vec<String>> {
    if let Some(prompt) = &arguments.prompt {
        return split(prompt, arguments.lines);
    }
    let Some(file) = &arguments.file else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return split(&text, arguments.lines);
    };
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !["jsonl", "ndjson", "json", "csv"].contains(&extension) {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        return split(&text, arguments.lines);
    }
    let set = match (&arguments.template, run) {
        (Some(name), _) => TemplateSet::named(name)?,
        (None, Some(run)) => run.task().template.set()?,
        (None, None) => bail!("{} holds rows: name the template that makes prompts of them, --template NAME", file.display()),
    };
    let examples = Prompts::new(set, Targets::Omitted, 0).examples(&read_rows(file)?)?;
    Ok(examples.into_iter().map(|example| example.prompt).collect())
}

fn split(text: &str, lines: bool) -> Result<Vec<String>> {
    let prompts: Vec<String> = match lines {
        true => text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect(),
        false => vec![text.trim_end().to_owned()],
    };
    if prompts.iter().all(String::is_empty) {
        bail!("the prompt is empty");
    }
    Ok(prompts)
}
