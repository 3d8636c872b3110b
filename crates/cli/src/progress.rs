//! What a run shows while it goes.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use tallow_train::{Engine, Evaluation, Observer, Result, StepReport};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors, and results on standard output.
    Quiet,
    /// What a run comes to, and how far it is.
    Normal,
    /// Every stage, with its time.
    Verbose,
}

/// The level, and when the program began.
static LEVEL: OnceLock<(Level, Instant)> = OnceLock::new();

fn level() -> (Level, Instant) {
    *LEVEL.get_or_init(|| (Level::Normal, Instant::now()))
}

/// Sets how much is said from now on. The first call stands.
pub fn set(level: Level) {
    LEVEL.get_or_init(|| (level, Instant::now()));
}

/// Prints a line to standard error, unless nothing is to be said. Nothing that runs is to end because nobody reads it.
pub fn say(text: &str) {
    if level().0 >= Level::Normal {
        insist(text);
    }
}

/// Prints a line to standard error at any level.
pub fn insist(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints what went wrong; in colour where a terminal shows it and nobody minds (NO_COLOR, CLICOLOR, TERM).
pub fn error(text: &str) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(anstream::stderr(), "{red}error:{red:#} {text}");
}

/// Prints a line with the seconds since the program began, if everything is to be said.
pub fn detail(text: impl FnOnce() -> String) {
    let (level, begin) = level();
    if level == Level::Verbose {
        insist(&format!("[{:7.3} s] {}", begin.elapsed().as_secs_f64(), text()));
    }
}

/// Says in detail how much memory was taken.
pub fn detail_memory(engine: &Engine) {
    if let Some(peak) = engine.peak_memory() {
        detail(|| format!("at most {} of memory", size(peak as u64)));
    }
}

/// Nobody reads standard output any more.
#[derive(Debug)]
pub struct Closed;

impl std::error::Error for Closed {}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("standard output is closed")
    }
}

/// Prints a line of a command's result to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("standard output"),
    })
}

/// Says that prompts were cut, if any were.
pub fn say_cut(cut: usize, of: usize, limit: usize) {
    if cut > 0 {
        say(&format!("{cut} of {of} prompts were cut to {limit} tokens"));
    }
}

/// A bar on standard error, where it can be drawn and is wanted: a terminal, and not a dumb one.
fn bar(total: usize, style: &str) -> Option<ProgressBar> {
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    let bar = ProgressBar::new(total as u64).with_style(style);
    (level().0 >= Level::Normal && !bar.is_hidden()).then_some(bar)
}

/// What a training shows: a bar on a terminal, a line now and then elsewhere.
pub struct Bar {
    bar: Option<ProgressBar>,
    /// Over the last steps, so that one of them does not make the figure jump.
    loss: Option<f64>,
    rate: Option<f64>,
    last_line: Instant,
    begin: Instant,
    first_step: usize,
}

/// Without a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Bar {
    /// `done` steps were made before it was stopped and resumed.
    pub fn new(done: usize) -> Self {
        let bar = bar(0, "{bar:30} {pos}/{len}  {msg}");
        Self {
            bar: bar.map(|bar| bar.with_finish(ProgressFinish::AndLeave)),
            loss: None,
            rate: None,
            last_line: Instant::now(),
            begin: Instant::now(),
            first_step: done,
        }
    }
}

/// Moves a running mean.
fn smooth(mean: &mut Option<f64>, value: f64) -> f64 {
    *mean.insert(mean.map_or(value, |mean| 0.9 * mean + 0.1 * value))
}

impl Observer for Bar {
    fn step(&mut self, report: &StepReport, total: usize) -> Result<()> {
        let loss = smooth(&mut self.loss, report.loss);
        let rate = smooth(&mut self.rate, report.tokens as f64 / report.time.as_secs_f64());
        // Of the steps made here: those before a resume took no time of it.
        let each = self.begin.elapsed() / (report.step - self.first_step) as u32;
        let left = (each * (total - report.step) as u32).as_secs();
        let message = format!("loss {loss:.4}  {rate:.0} tokens/s  {left} s left");
        match &self.bar {
            Some(bar) => {
                bar.set_length(total as u64);
                bar.set_position(report.step as u64);
                bar.set_message(message);
            }
            None if self.last_line.elapsed() >= LINE_EVERY || report.step == total => {
                self.last_line = Instant::now();
                say(&format!("step {}/{total}  {message}", report.step));
            }
            None => {}
        }
        Ok(())
    }

    fn validating(&mut self, done: usize, total: usize) -> Result<()> {
        match &self.bar {
            Some(bar) => bar.set_message(format!("validation {done}/{total}")),
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                say(&format!("validation: {done} of {total} rows"));
            }
            None => {}
        }
        Ok(())
    }

    fn validation(&mut self, step: usize, loss: f64, best: bool) -> Result<()> {
        let best = if best { ", the lowest so far" } else { "" };
        let text = format!("step {step}: validation loss {loss:.4}{best}");
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("validation loss {loss:.4}"));
                bar.println(text);
            }
            None => say(&text),
        }
        Ok(())
    }

    fn checkpoint(&mut self, step: usize, path: &Path) -> Result<()> {
        let text = format!("step {step}: checkpoint in {}", path.display());
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say(&text),
        }
        Ok(())
    }
}

/// A bar over rows; nothing without a terminal.
pub fn rows(total: usize, what: &str) -> ProgressBar {
    let bar = bar(total, "{bar:30} {pos}/{len} {msg}  {eta} left");
    bar.unwrap_or_else(ProgressBar::hidden).with_message(what.to_owned())
}

/// A bar over so many bytes, which shows how many there are; nothing without a terminal.
pub fn bytes(total: u64) -> Box<dyn FnMut(u64)> {
    let template = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    let Some(bar) = bar(total as usize, template).map(Ended) else { return Box::new(|_| ()) };
    Box::new(move |there| bar.0.set_position(there))
}

/// A bar that goes with whoever moves it.
struct Ended(ProgressBar);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A table of figures x 100, one column each.
pub fn table(columns: &[(&str, &Evaluation)]) -> String {
    let mut lines = vec![format!("{:<12}", "F1 x 100")];
    for (name, evaluation) in columns {
        lines[0].push_str(&format!("{:>16}", format!("{name} ({})", evaluation.rows)));
    }
    if let Some((_, first)) = columns.first() {
        for figure in first.rouge.keys() {
            let mut line = format!("{:<12}", figure.to_string());
            for (_, evaluation) in columns {
                let value = evaluation.rouge.get(figure).map_or(f64::NAN, |score| 100.0 * score.fmeasure);
                line.push_str(&format!("{value:>16.2}"));
            }
            lines.push(line);
        }
        let stemmer = if first.stemmer { "with" } else { "without" };
        lines.push(format!("{} of the references, {stemmer} stemmer, (rows)", first.references));
    }
    lines.join("\n")
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        _ if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} kB", bytes / 1e3),
    }
}

/// A number with its thousands apart.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}
