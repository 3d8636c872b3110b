//! Everything that can be known before a run, at once.

mod findings;
mod time;

use anyhow::{Result, anyhow};
use serde::Serialize;
use tallow_peft::{Initial, inject};
use tallow_t5::T5;
use tallow_train::{BatchTokens, TOKENS_ON_HOST};

use self::findings::{Finding, Findings, Level};
use crate::args::ValidateArguments;
use crate::commands::inspect::{TrainingReport, foresee};
use crate::compute::Compute;
use crate::config::{Config, Invalid, Problems, Reads, read};
use crate::data::{TRAINING, VALIDATION, check_vocabulary, method, model, task_tokenizer};
use crate::progress::{self, count, size};
use crate::run::RunFolder;
use crate::survey::{Survey, Training, parts};

/// What is known.
#[derive(Serialize)]
struct Report {
    config: String,
    /// Whether training would begin.
    ready: bool,
    findings: Vec<Finding>,
    rows: Vec<Survey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Plan>,
}

/// What training would be.
#[derive(Serialize)]
struct Plan {
    #[serde(flatten)]
    foreseen: TrainingReport,
    /// The most memory that is taken at a time.
    peak_bytes: u64,
    parameters: usize,
    steps: usize,
    epochs: f64,
    /// Source and target tokens of all steps.
    tokens: usize,
    /// Of the steps alone, on this machine.
    seconds: f64,
}

pub fn run(arguments: &ValidateArguments) -> Result<()> {
    let (config, problems) = read(&arguments.config.config, &arguments.config.overrides, Reads::All)?;
    let mut findings = Findings::default();
    findings.problems(&problems.of, &problems.found);
    let mut report = Report {
        config: problems.of.clone(),
        ready: false,
        findings: Vec::new(),
        rows: Vec::new(),
        training: None,
    };
    if let Some(config) = config {
        look(&config, &problems, &mut findings, &mut report);
    }
    findings.0.sort_by_key(|finding| finding.level);
    let errors = findings.count(Level::Error);
    (report.ready, report.findings) = (errors == 0, findings.0);
    progress::print(&if arguments.json { serde_json::to_string(&report)? } else { text(&report) })?;
    match errors {
        0 => Ok(()),
        _ => Err(Invalid.into()),
    }
}

/// Looks at whatever can be looked at.
fn look(config: &Config, problems: &Problems, findings: &mut Findings, report: &mut Report) {
    // What is wrong, or stands in for a missing value, is not looked at.
    let there = |key: &str| problems.found.iter().all(|problem| problem.key != key);
    let whole = |section: &str| {
        let of_files = ["task.0.train", "task.0.validation", "task.0.test"];
        problems
            .found
            .iter()
            .all(|problem| !problem.is_in(section) || of_files.contains(&problem.key.as_str()))
    };
    if whole("name") && whole("output") {
        let folder = config.folder();
        if RunFolder::is_run(&folder) {
            let what = "exists: train needs --resume to go on with it, or name=OTHER";
            findings.warn("name", format!("{} {what}", folder.display()));
        } else if let Err(error) = RunFolder::find(config, false) {
            findings.error("name", &error);
        }
    }
    if !whole("model") || !whole("task") {
        return;
    }
    let compute = kept(findings, "device", Compute::open(&config.compute(), config.threads()));
    let tokenizer = kept(findings, "model", task_tokenizer(config));
    // A folder that is not there has been said by the tokenizer.
    let base = match (&compute, &tokenizer) {
        (Some(compute), Some(_)) => {
            let base = model(&config.model.path, compute.device(), compute.loads_in(&config.method));
            kept(findings, "model.path", base)
        }
        _ => None,
    };
    let Some(tokenizer) = tokenizer else { return };
    let Some(method) = kept(findings, "method", method(&config.method, &tokenizer)) else { return };
    let config = &Config { method, ..config.clone() };
    if let Some(base) = &base {
        kept(findings, "model.tokenizer", check_vocabulary(&tokenizer, &config.model, base));
    }
    if let (Some(compute), Some(base), true) = (&compute, &base, whole("method")) {
        let adapted = inject(base.clone(), &config.method, Initial::Seed(0), compute.dtype);
        kept(findings, "method", adapted.map(drop).map_err(Into::into));
    }
    let mut known = Training::default();
    for (name, rows) in parts(config) {
        // Validation rows that are held out come of the training's files.
        let of_training = name == TRAINING || name == VALIDATION && config.task().validation.is_none();
        let key = format!("task.0.{}", if of_training { "train" } else { name });
        // Of a file that is not there, the config's problems say so.
        let is_said =
            name != TRAINING && of_training && findings.0.iter().any(|finding| finding.place == key);
        if !there(&key) || is_said {
            continue;
        }
        let survey = rows.and_then(|rows| {
            rows.map(|rows| Survey::of(name, &rows, config, &tokenizer, &mut known)).transpose()
        });
        if let Some(survey) = kept(findings, &key, survey).flatten() {
            findings.of_rows(&survey);
            report.rows.push(survey);
        }
    }
    if report.rows.iter().all(|part| part.name == TRAINING)
        && config.task().test.is_none()
        && !config.task().has_validation()
    {
        let what =
            "has neither validation nor test rows: nothing will be measured but the training's own loss";
        findings.warn("task.0", what.to_owned());
    }
    let trained = report.rows.iter().find(|part| part.name == TRAINING);
    let is_whole = whole("training") && findings.0.iter().all(|finding| finding.place != "method");
    if let (Some(compute), Some(base), Some(rows), true) =
        (compute, base, trained, is_whole && whole("method"))
    {
        report.training = kept(findings, "training", plan(config, &compute, base, rows)).flatten();
    }
    if let (Some(plan), Some(memory)) = (&report.training, available_memory()) {
        let peak = plan.peak_bytes;
        if config.compute().device.is_host() && peak > memory {
            let (peak, memory) = (size(peak), size(memory));
            let what = format!(
                "takes about {peak}, and {memory} are free: lower it, or give checkpointing = \"layer\""
            );
            findings.warn("training.batch_size", what);
        }
    }
}

/// What came out, or a note of what went wrong.
fn kept<T>(findings: &mut Findings, place: &str, result: Result<T>) -> Option<T> {
    result.map_err(|error| findings.error(place, &error)).ok()
}

fn plan(config: &Config, compute: &Compute, mut base: T5, rows: &Survey) -> Result<Option<Plan>> {
    base.training.checkpointing = config.training.checkpointing;
    let mut options = config.training.clone();
    if options.batch().is_none() {
        options.batch_tokens = Some(BatchTokens::Tokens(TOKENS_ON_HOST));
    }
    let batches = options.batches(rows.tokens.clone(), config.seed)?;
    let steps = options.total_steps(&batches);
    if options.warmup_steps >= steps {
        return Err(anyhow!("warmup_steps = {}, but the run has {steps} steps", options.warmup_steps));
    }
    let all = || {
        let batches = batches.from_step(0).take(options.total_batches(&batches));
        batches.map(|(_, batch)| batch.iter().map(|&row| rows.tokens[row]).collect::<Vec<_>>())
    };
    let heaviest = format!("the heaviest of {} batches", options.total_batches(&batches));
    let foreseen = foresee(&compute.engine, &base, &config.method, &all().collect::<Vec<_>>(), heaviest)?;
    let dtype = compute.dtype.as_str();
    let peak_bytes =
        foreseen.memory.iter().find(|memory| memory.dtype == dtype).map_or(0, |memory| memory.peak_bytes);
    let (mut trained, mut tokens, mut operations) = (0, 0, 0.0);
    for (source, target) in all().flatten() {
        trained += 1;
        tokens += source + target;
        operations += base.config.forward_flops(source, target);
    }
    let Some(first) = all().next() else { return Ok(None) };
    let each = time::seconds_per_operation(compute, &base, config, &first)?;
    let epochs = trained as f64 / rows.rows as f64;
    let (parameters, seconds) = (base.parameters(), each * operations);
    Ok(Some(Plan { foreseen, peak_bytes, parameters, steps, epochs, tokens, seconds }))
}

/// The memory that can be had without swapping, in bytes, where the system tells.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn text(report: &Report) -> String {
    let of = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let several = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings) = (of(Level::Error), of(Level::Warning));
    let mut counts = Vec::new();
    if errors > 0 {
        counts.push(several(errors, "error"));
    }
    if warnings > 0 {
        counts.push(several(warnings, "warning"));
    }
    let state = if report.ready { "ready to train" } else { "not ready" };
    let mut text = [vec![state.to_owned()], counts].concat().join(", ");
    text = format!("{}: {text}", report.config);
    for finding in &report.findings {
        text += &format!("\n  {}", finding.to_string().replace('\n', "\n  "));
    }
    let mut line = |key: &str, value: String| text += &format!("\n{key:<12}{value}");
    for (index, part) in report.rows.iter().enumerate() {
        let tokens = format!("tokens a row: {:.0} + {:.0}", part.prompts.mean, part.targets.mean);
        line(if index == 0 { "rows" } else { "" }, format!("{}: {}, {tokens}", part.name, count(part.rows)));
    }
    if let Some(plan) = &report.training {
        let TrainingReport { method, trainable, share, .. } = &plan.foreseen;
        let (trainable, share) = (count(*trainable), 100.0 * share);
        line(
            "method",
            format!("{method}: {trainable} of {} parameters, {share:.2}%", count(plan.parameters)),
        );
        let (steps, tokens) = (count(plan.steps), count(plan.tokens));
        line("training", format!("{steps} steps, {:.2} epochs, {tokens} tokens", plan.epochs));
        line("memory", format!("about {}", size(plan.peak_bytes)));
        let rate = count((plan.tokens as f64 / plan.seconds) as usize);
        line("time", format!("about {} for the steps, at {rate} tokens/s", duration(plan.seconds)));
    }
    text
}

/// A time as people say it.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 99.5 * 60.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
