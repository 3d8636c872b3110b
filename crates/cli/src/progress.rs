//! What a run shows while it goes.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use tallow_train::{Evaluation, Observer, Result, StepReport};

/// Prints a line to standard error. Nothing that runs is to end because nobody reads it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
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
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:30} {pos}/{len}  {msg}";
            ProgressBar::new(0)
                .with_style(ProgressStyle::with_template(style).expect("the template is valid"))
                .with_finish(ProgressFinish::AndLeave)
        });
        Self {
            bar,
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
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {eta} left")
        .expect("the template is valid");
    ProgressBar::new(total as u64).with_style(style).with_message(what.to_owned())
}

/// A bar over so many bytes, which shows how many there are; nothing without a terminal.
pub fn bytes(total: u64) -> Box<dyn FnMut(u64)> {
    if !std::io::stderr().is_terminal() {
        return Box::new(|_| ());
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left")
        .expect("the template is valid");
    let bar = Ended(ProgressBar::new(total).with_style(style));
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
