use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tallow_data::{Prompts, Row, Targets, TemplateSet, holds_rows};
use tallow_hub::Wanted;
use tallow_t5::GenerationOptions;

use super::answers::{Panel, Question};
use crate::args::GenerateArguments;
use crate::compute::Compute;
use crate::config::{Config, ModelOptions, Problems, threads};
use crate::data::{check_vocabulary, model, tokenizer, trained};
use crate::given::{self, Misuse};
use crate::hub;
use crate::named::Adapters;
use crate::progress;
use crate::run::RunFolder;

pub fn run(arguments: &GenerateArguments) -> Result<()> {
    check(arguments)?;
    let run = arguments.run.as_deref().map(RunFolder::open).transpose()?;
    let config = run.as_ref().map(|(_, config)| config);
    let options = generation(arguments, config)?;
    let adapters = Adapters::of(&arguments.adapter)?;
    if arguments.adapter_of.is_some() && !matches!(adapters, Adapters::Named(_)) {
        bail!(Misuse("--adapter-of: name the adapters, --adapter NAME=DIR".to_owned()));
    }
    let base = match (config, &arguments.model) {
        (Some(config), _) => config.model.clone(),
        (None, Some(model)) => ModelOptions { path: model.clone(), tokenizer: None },
        (None, None) => adapters.base()?,
    };
    let base = ModelOptions { tokenizer: arguments.tokenizer.clone().or(base.tokenizer), ..base };
    let newlines = arguments.newlines.or(config.map(|run| run.task().newlines)).unwrap_or_default();
    let tokenizer = tokenizer(&base)?.with_newlines(newlines)?;
    let Asked { prompts, questions } = asked(arguments, config, &adapters)?;

    progress::detail(|| format!("read the tokenizer and {} prompts", prompts.len()));
    let threads = threads(arguments.threads.or(config.map(|run| run.threads)).unwrap_or(0));
    let options_of_run = config.map(Config::compute).unwrap_or_default();
    let compute = Compute::open(&arguments.compute.over(options_of_run), threads)?;
    let plain = || model(&base.path, compute.device(), compute.dtype);
    let panel = match (&run, &adapters) {
        (Some((folder, config)), Adapters::None) => {
            Panel::load(trained(config, &folder.trained_by_now(config)?, &compute)?, &[])?
        }
        _ => Panel::load(plain()?, &adapters.folders())?,
    };
    let model = panel.base();
    check_vocabulary(&tokenizer, &base, model)?;
    progress::detail(|| {
        format!("loaded the model of {} parameters; {}", model.parameters(), compute.kernels())
    });
    let limit = arguments.max_source_tokens.or(config.map(|run| run.task().max_source_tokens)).unwrap_or(512);
    let batch_size = arguments.batch_size.or(config.map(|run| run.evaluation.batch_size)).unwrap_or(16);
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let encoded = tokenizer.encode_batch(&texts, limit)?;
    let sources: Vec<&[u32]> = encoded.iter().map(|source| source.ids.as_slice()).collect();
    let cut = encoded.iter().filter(|source| source.cut > 0).count();
    progress::say_cut(cut, prompts.len(), limit);
    let bar = progress::rows(questions.len(), "prompts");
    let done = |rows: usize| bar.inc(rows as u64);
    let answers = panel.answer(&compute, &questions, &sources, &options, batch_size, &done)?;
    bar.finish_and_clear();
    progress::detail_memory(&compute.engine);
    let names = match &adapters {
        Adapters::Named(named) => named.as_slice(),
        Adapters::None | Adapters::One(_) => &[],
    };
    for (ids, question) in answers.iter().zip(&questions) {
        let (prompt, prediction) = (&prompts[question.prompt], tokenizer.decode(ids)?);
        let name = question.adapter.and_then(|number| names.get(number)).map(|(name, _)| *name);
        let text = match (arguments.json, names.is_empty()) {
            (true, true) => json!({ "prompt": prompt, "prediction": prediction }).to_string(),
            (true, false) => {
                json!({ "prompt": prompt, "adapter": name, "prediction": prediction }).to_string()
            }
            (false, true) => prediction,
            (false, false) => format!("{}\t{prediction}", name.unwrap_or_default()),
        };
        progress::print(&text)?;
    }
    Ok(())
}

/// What is asked, and of which adapter.
struct Asked {
    prompts: Vec<String>,
    questions: Vec<Question>,
}

fn asked(arguments: &GenerateArguments, run: Option<&Config>, adapters: &Adapters) -> Result<Asked> {
    let all = |prompts: Vec<String>, count: usize| {
        // Each prompt's answers follow one another.
        let questions = (0..prompts.len())
            .flat_map(|prompt| (0..count).map(move |adapter| Question { prompt, adapter: Some(adapter) }));
        Asked { questions: questions.collect(), prompts }
    };
    match (adapters, &arguments.adapter_of) {
        (Adapters::Named(named), Some(column)) => {
            let mut chosen = Vec::new();
            let mut choose = |row: &Row| {
                chosen.push(adapter_of(row, column, named)?);
                Ok(())
            };
            let prompts = prompts(arguments, run, Some(&mut choose))?;
            let questions = chosen.into_iter().enumerate();
            let questions = questions.map(|(prompt, adapter)| Question { prompt, adapter }).collect();
            Ok(Asked { prompts, questions })
        }
        (Adapters::Named(named), None) => Ok(all(prompts(arguments, run, None)?, named.len())),
        (Adapters::One(_), _) => Ok(all(prompts(arguments, run, None)?, 1)),
        (Adapters::None, _) => {
            let prompts = prompts(arguments, run, None)?;
            let questions = (0..prompts.len()).map(|prompt| Question { prompt, adapter: None }).collect();
            Ok(Asked { prompts, questions })
        }
    }
}

/// The number of the adapter that a row names; none where its column is empty.
fn adapter_of(row: &Row, column: &str, named: &[(&str, &Path)]) -> Result<Option<usize>> {
    if !row.fields.contains_key(column) {
        bail!(Misuse(format!("{}: there is no column {column}, see --adapter-of", row.origin)));
    }
    let Some(name) = row.text(column).filter(|name| !name.trim().is_empty()) else { return Ok(None) };
    match named.iter().position(|(other, _)| *other == name.trim()) {
        Some(number) => Ok(Some(number)),
        None => {
            let known: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
            bail!(Misuse(format!(
                "{}: {column} names the adapter `{}`; --adapter gives {}",
                row.origin,
                name.trim(),
                known.join(", ")
            )))
        }
    }
}

/// Refuses what is not there before anything is loaded.
fn check(arguments: &GenerateArguments) -> Result<(), Misuse> {
    given::model("--model", arguments.model.as_deref())?;
    given::file("--tokenizer", arguments.tokenizer.as_deref())?;
    let file = arguments.file.as_deref();
    match arguments.template.is_some() || file.is_some_and(holds_rows) {
        true => given::rows("--file", file),
        false => given::file("--file", file),
    }
}

fn generation(arguments: &GenerateArguments, run: Option<&Config>) -> Result<GenerationOptions> {
    let mut options = run.map(|run| run.evaluation.generation.clone()).unwrap_or_default();
    let set = |to: &mut usize, from: Option<usize>| *to = from.unwrap_or(*to);
    set(&mut options.max_new_tokens, arguments.max_new_tokens);
    set(&mut options.min_new_tokens, arguments.min_new_tokens);
    set(&mut options.no_repeat_ngram_size, arguments.no_repeat_ngram_size);
    set(&mut options.num_beams, arguments.num_beams);
    options.length_penalty = arguments.length_penalty.unwrap_or(options.length_penalty);
    options.early_stopping = arguments.early_stopping.unwrap_or(options.early_stopping);
    options.repetition_penalty = arguments.repetition_penalty.unwrap_or(options.repetition_penalty);
    let draws = arguments.temperature.is_some() || arguments.top_k.is_some() || arguments.top_p.is_some();
    if draws || arguments.seed.is_some() {
        let mut sampling = options.sampling.take().unwrap_or_default();
        sampling.temperature = arguments.temperature.unwrap_or(sampling.temperature);
        sampling.top_k = arguments.top_k.or(sampling.top_k);
        sampling.top_p = arguments.top_p.or(sampling.top_p);
        sampling.seed = arguments.seed.unwrap_or(sampling.seed);
        options.sampling = Some(sampling);
    }
    Problems::refuse("generation settings", options.problems())?;
    Ok(options)
}

/// What is told of each row, if there are rows.
type EachRow<'a> = Option<&'a mut dyn FnMut(&Row) -> Result<()>>;

fn prompts(arguments: &GenerateArguments, run: Option<&Config>, each: EachRow) -> Result<Vec<String>> {
    if let Some(prompt) = &arguments.prompt {
        return split(prompt, arguments.lines);
    }
    let Some(file) = &arguments.file else {
        if std::io::stdin().is_terminal() {
            progress::say("type the prompt, then Ctrl-D");
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return split(&text, arguments.lines);
    };
    if holds_rows(file) && arguments.lines {
        bail!(Misuse(format!("{} holds rows: leave out --lines, which is for text", file.display())));
    }
    if !holds_rows(file) && arguments.template.is_none() {
        if each.is_some() {
            bail!(Misuse(format!("--adapter-of: {} is text, which has no columns", file.display())));
        }
        return split(&given::text(&hub::local(file, Wanted::Files)?)?, arguments.lines);
    }
    let set = match (&arguments.template, run) {
        (Some(name), _) => TemplateSet::open(name).map_err(|error| Misuse(format!("--template: {error}")))?,
        (None, Some(run)) => run.task().template.set()?,
        (None, None) => bail!(Misuse(format!(
            "{} holds rows: name the template that makes prompts of them, --template NAME",
            file.display()
        ))),
    };
    let seed = run.map_or(0, |run| run.seed);
    // They are the names that the run's own template wants.
    let columns = run.filter(|_| arguments.template.is_none()).map(|run| run.task().columns.clone());
    let columns = columns.unwrap_or_default();
    let source = hub::source(file, &columns)?;
    let examples = Prompts::new(set, Targets::Omitted, seed).examples(source.rows())?;
    if let Some(each) = each {
        // Every row has made a prompt.
        source.rows().try_for_each(|row| each(&row?))?;
    }
    Ok(examples.into_iter().map(|example| example.prompt).collect())
}

fn split(text: &str, lines: bool) -> Result<Vec<String>> {
    let prompts: Vec<String> = match lines {
        true => text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect(),
        false => vec![text.trim_end().to_owned()],
    };
    if prompts.iter().all(String::is_empty) {
        bail!(Misuse("the prompt is empty".to_owned()));
    }
    Ok(prompts)
}
