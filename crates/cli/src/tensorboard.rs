//! A run's figures for TensorBoard.

use anyhow::Result;
use tallow_report::Events;
use tallow_train::{Evaluation, Observer, StepReport};

use crate::config::Config;
use crate::progress::say;
use crate::run::RunFolder;

/// The event file of a run that is under way, once it is begun; none if none is wanted.
pub struct Board<'a> {
    folder: &'a RunFolder,
    is_wanted: bool,
    events: Option<Events>,
}

impl<'a> Board<'a> {
    pub fn new(folder: &'a RunFolder, config: &Config) -> Self {
        Self { folder, is_wanted: config.tensorboard, events: None }
    }

    /// Begins a file for what comes after `done` steps, if there is none yet.
    pub fn begin(&mut self, done: usize) -> Result<()> {
        if self.is_wanted && self.events.is_none() {
            self.events = Some(Events::create(self.folder.path(), done)?);
        }
        Ok(())
    }

    /// Writes scores, by what they are called in evaluation.json.
    pub fn evaluation(&mut self, name: &str, step: usize, evaluation: &Evaluation) -> Result<()> {
        let scores = evaluation.rouge.iter();
        let scores: Vec<(String, f64)> =
            scores.map(|(kind, score)| (format!("{name}/{kind}"), score.fmeasure)).collect();
        Ok(self.write(step, &scores)?)
    }

    fn write(&mut self, step: usize, figures: &[(String, f64)]) -> tallow_report::Result<()> {
        self.events.as_mut().map_or(Ok(()), |events| events.scalars(step, figures))
    }

    /// A training does not end for want of its curves.
    fn observe(&mut self, step: usize, figures: &[(&str, f64)]) {
        let figures: Vec<(String, f64)> =
            figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        if let Err(error) = self.write(step, &figures) {
            say(&format!("no more figures for TensorBoard: {error}"));
            self.events = None;
            self.is_wanted = false;
        }
    }
}

impl Observer for &mut Board<'_> {
    fn step(&mut self, report: &StepReport, _total: usize) -> tallow_train::Result<()> {
        let seconds = report.time.as_secs_f64().max(1e-6);
        let mut figures = vec![
            ("train/loss", report.loss),
            ("train/learning_rate", report.learning_rate),
            ("train/grad_norm", report.grad_norm),
            ("train/tokens_per_second", report.tokens as f64 / seconds),
        ];
        figures.extend(report.peak_memory.map(|bytes| ("train/peak_memory_gb", bytes as f64 / 1e9)));
        self.observe(report.step, &figures);
        Ok(())
    }

    fn validation(&mut self, step: usize, loss: f64, _best: bool) -> tallow_train::Result<()> {
        self.observe(step, &[("validation/loss", loss)]);
        Ok(())
    }
}
