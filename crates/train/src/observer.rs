use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::{Error, Result};

/// One optimiser step.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// From 1.
    pub step: usize,
    /// The pass over the rows that the step's last batch belongs to, from 0.
    pub epoch: usize,
    /// The mean loss of a target token.
    pub loss: f64,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
    /// The learning rate that was used.
    pub learning_rate: f64,
    /// Source and target tokens.
    pub tokens: usize,
    /// Wall time.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub time: Duration,
    /// The most memory that was taken at a time so far, in bytes, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<usize>,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e6)
}

/// Someone who watches a run.
pub trait Observer {
    /// A step is done.
    ///
    /// # Errors
    /// If the observer cannot write it down; the run stops.
    fn step(&mut self, _report: &StepReport, _total: usize) -> Result<()> {
        Ok(())
    }

    /// `done` of `total` rows of the validation loss are computed.
    ///
    /// # Errors
    /// As for [`Observer::step`].
    fn validating(&mut self, _done: usize, _total: usize) -> Result<()> {
        Ok(())
    }

    /// The validation loss was measured after `step`; `best` if it is the lowest so far.
    ///
    /// # Errors
    /// If the observer cannot write it down; the run stops.
    fn validation(&mut self, _step: usize, _loss: f64, _best: bool) -> Result<()> {
        Ok(())
    }

    /// A checkpoint was written.
    ///
    /// # Errors
    /// If the observer cannot write it down; the run stops.
    fn checkpoint(&mut self, _step: usize, _path: &Path) -> Result<()> {
        Ok(())
    }
}

/// Writes metrics.jsonl: a line a step, `{"step", "epoch", "loss", "grad_norm", "learning_rate", "tokens",
/// "seconds", "peak_memory"}`, and a line a validation, `{"step", "validation_loss", "best"}`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log of a run that goes on after `step` steps: later lines of an earlier run are dropped.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, step: usize) -> Result<Self> {
        let fail = || Error::file(path);
        if path.exists() {
            let text = std::fs::read_to_string(path).map_err(fail())?;
            let kept: String = text
                .lines()
                .filter(|line| {
                    let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
                    let at = value.and_then(|value| value.get("step")?.as_u64());
                    at.is_some_and(|at| at as usize <= step)
                })
                .map(|line| format!("{line}\n"))
                .collect();
            let beside = path.with_extension("jsonl.part");
            std::fs::write(&beside, kept).map_err(fail())?;
            std::fs::rename(&beside, path).map_err(fail())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(fail())?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).expect("figures are JSON");
        writeln!(self.file, "{line}").map_err(Error::file(&self.path))
    }
}

impl Observer for MetricsLog {
    fn step(&mut self, report: &StepReport, _total: usize) -> Result<()> {
        self.line(report)
    }

    fn validation(&mut self, step: usize, loss: f64, best: bool) -> Result<()> {
        self.line(&serde_json::json!({ "step": step, "validation_loss": loss, "best": best }))
    }
}
