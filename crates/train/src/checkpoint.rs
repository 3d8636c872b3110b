use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use tallow_ops::Parameters;
use tallow_t5::{folder, tensors};

use crate::{Error, Result};

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// The step with the lowest validation loss so far.
    pub best_step: Option<usize>,
    /// That loss.
    pub best_loss: Option<f64>,
    /// The tokens of a batch, given or found by trying, where batches have tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// The threads that the run's sums depend on.
    pub threads: usize,
    /// What computed, as far as they depend on it: a CPU's vector instructions, or a GPU.
    pub hardware: String,
}

/// A run's state after a step: parameters, moments, progress.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// How far the run was.
    pub progress: Progress,
}

impl Checkpoint {
    /// Puts the state back into `parameters`.
    ///
    /// # Errors
    /// If the files are broken or of another run.
    pub fn restore(&self, parameters: &Parameters) -> Result<()> {
        let state = self.check(parameters)?.get("state", &Device::Cpu, DType::F32)?;
        parameters.restore(&state).map_err(|error| self.fail(error.to_string()))
    }

    /// Refuses what cannot be put back into `parameters`, before anything is changed; gives the state's file.
    ///
    /// # Errors
    /// If the files are broken or of another run.
    pub fn check(&self, parameters: &Parameters) -> Result<tensors::Tensors> {
        let file = self.path.join("state.safetensors");
        let tensors = tensors::Tensors::open([file.clone()]).map_err(|error| match error {
            tallow_t5::Error::Tensors { path, what } => Error::Checkpoint { path, what: broken(&what) },
            tallow_t5::Error::File { path, source } => Error::Checkpoint { path, what: broken(&source) },
            other => other.into(),
        })?;
        if !tensors.contains("state") {
            return Err(Error::Checkpoint { path: file, what: broken(&"holds no state") });
        }
        let (found, wanted) = (read_shapes(&self.path)?, shapes(parameters));
        if found != wanted {
            let other = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
            let other = match other {
                Some((found, wanted)) => {
                    format!("{} {:?} where it has {} {:?}", found.0, found.1, wanted.0, wanted.1)
                }
                None => format!("{} tensors where it has {}", found.len(), wanted.len()),
            };
            return Err(self.fail(format!("holds other parameters than this run trains: {other}")));
        }
        Ok(tensors)
    }

    fn fail(&self, what: String) -> Error {
        Error::Checkpoint { path: self.path.clone(), what }
    }
}

/// The parameters' names and shapes, in order.
fn shapes(parameters: &Parameters) -> Vec<(String, Vec<usize>)> {
    parameters.entries().iter().map(|entry| (entry.name.clone(), entry.shape.clone())).collect()
}

fn read_shapes(path: &Path) -> Result<Vec<(String, Vec<usize>)>> {
    let path = path.join("parameters.json");
    let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Checkpoint { path: path.clone(), what: broken(&error) })
}

/// The checkpoints of one run, `step-000200` and so on, and `best`.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Those in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a checkpoint, and removes all but the newest `keep`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, parameters: &Parameters, progress: &Progress, keep: usize) -> Result<PathBuf> {
        let path = self.folder.join(format!("step-{:06}", progress.step));
        self.put(&path, parameters, progress)?;
        let steps = self.steps()?;
        for (_, old) in &steps[..steps.len().saturating_sub(keep)] {
            std::fs::remove_dir_all(old).map_err(Error::file(old))?;
        }
        Ok(path)
    }

    /// Writes the state with the lowest validation loss so far.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_best(&self, parameters: &Parameters, progress: &Progress) -> Result<()> {
        self.put(&self.folder.join("best"), parameters, progress)
    }

    fn put(&self, path: &Path, parameters: &Parameters, progress: &Progress) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(Error::file(&self.folder))?;
        folder::replace(path, |path| {
            tensors::write(&path.join("state.safetensors"), [("state", parameters.state())])?;
            let texts = [
                ("parameters.json", serde_json::to_string(&shapes(parameters))),
                ("progress.json", serde_json::to_string_pretty(progress)),
            ];
            for (name, text) in texts {
                let path = path.join(name);
                std::fs::write(&path, text.expect("plain values are JSON")).map_err(Error::file(&path))?;
            }
            Ok(())
        })
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn newest(&self) -> Result<Option<Checkpoint>> {
        self.steps()?.pop().map(|(_, path)| read(path)).transpose()
    }

    /// The checkpoint with the lowest validation loss, if one was written.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn best(&self) -> Result<Option<Checkpoint>> {
        let path = self.folder.join("best");
        path.is_dir().then(|| read(path)).transpose()
    }

    /// What to say where the best state should be and is not.
    pub(crate) fn lost_best(&self, step: usize) -> Error {
        let what = format!(
            "is not the state of step {step}, which had the lowest validation loss: it was removed or replaced \
             during the run; --resume goes on from the newest checkpoint"
        );
        Error::Checkpoint { path: self.folder.join("best"), what }
    }

    /// (step, folder) of the numbered ones, oldest first.
    fn steps(&self) -> Result<Vec<(usize, PathBuf)>> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(Error::file(&self.folder))? {
            let entry = entry.map_err(Error::file(&self.folder))?;
            let name = entry.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix("step-")?.parse().ok());
            steps.extend(step.map(|step| (step, entry.path())));
        }
        steps.sort();
        Ok(steps)
    }
}

fn read(path: PathBuf) -> Result<Checkpoint> {
    let file = path.join("progress.json");
    let text = std::fs::read_to_string(&file).map_err(Error::file(&file))?;
    match serde_json::from_str(&text) {
        Ok(progress) => Ok(Checkpoint { path, progress }),
        Err(error) => Err(Error::Checkpoint { path: file, what: broken(&error) }),
    }
}

fn broken(error: &dyn std::fmt::Display) -> String {
    format!("{error}; remove this checkpoint's folder to resume from the one before it")
}
