//! A run's folder, and how a run is interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tallow_train::Checkpoints;

use crate::config::{Config, Reads, load_reading};
use crate::given::Misuse;

/// `output/name`, and what lies in it.
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Where a config's run lies.
    pub fn at(config: &Config) -> Self {
        Self(config.folder())
    }

    /// The run in a folder.
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_path_buf())
    }

    /// The folder of a run that is to start, or to go on; nothing is made yet.
    pub fn find(config: &Config, resume: bool) -> Result<Self> {
        let folder = Self::at(config);
        let (path, file) = (folder.0.display(), folder.config());
        match (resume, file.is_file()) {
            (false, true) => {
                bail!("{path} exists: use --resume to go on with it, name=OTHER for a new run, or remove it")
            }
            (false, false) if folder.0.exists() => {
                bail!(
                    "{path} exists and is not a run's folder: give name=OTHER or output=OTHER, or remove it"
                )
            }
            (true, false) => bail!("{path} holds no run to resume: leave out --resume to start one"),
            (false, false) => {}
            (true, true) => {
                let changed = folder.changed(config)?;
                if !changed.is_empty() {
                    let (file, changed) = (file.display(), changed.join(", "));
                    bail!(
                        "the run to resume was started with other settings, see {file}: {changed}; to go on as it \
                         was started: train {file} --resume"
                    );
                }
            }
        }
        Ok(folder)
    }

    /// The keys in which the run's config differs from `config`; the folder may have moved.
    fn changed(&self, config: &Config) -> Result<Vec<String>> {
        let (name, output) = (config.name.clone(), config.output.clone());
        differences(&Config { name, output, ..load_reading(&self.config(), &[], Reads::Nothing)? }, config)
    }

    /// Refuses to measure the run as something else than what it was trained as: rows that are held out by
    /// `config` may be among those it was trained on.
    pub fn check_trained_as(&self, config: &Config) -> Result<()> {
        let mut changed = self.changed(config)?;
        let of_training = |key: &str| {
            !["evaluation", "training", "threads", "device", "dtype", "tf32", "kernels", "tensorboard"]
                .contains(&section(key))
        };
        changed.retain(|key| of_training(key));
        if !changed.is_empty() {
            let (file, changed) = (self.config(), changed.join(", "));
            let file = file.display();
            bail!(
                "the run was trained with other settings, see {file}: {changed}; measure it as it was trained \
                 (evaluate {file}), or give its adapter by --adapter DIR"
            );
        }
        Ok(())
    }

    /// The run in a folder, and its config.
    pub fn open(path: &Path) -> Result<(Self, Config)> {
        let folder = Self(path.to_path_buf());
        let file = folder.config();
        if !file.is_file() {
            bail!(Misuse(format!("{} holds no run: there is no {}", path.display(), file.display())));
        }
        let config = load_reading(&file, &[], Reads::Model)?;
        Ok((folder, config))
    }

    /// Whether a folder holds a run.
    pub fn is_run(path: &Path) -> bool {
        Self(path.to_path_buf()).config().is_file()
    }

    /// What to say where the run is stopped.
    pub fn go_on(&self) -> String {
        format!("go on with: tallow train {} --resume", self.config().display())
    }

    /// Makes the folder of a new run. It goes again with what is returned, if nothing has come of the run by then: so
    /// the same command can be given once more.
    pub fn make(&self, config: &Config) -> Result<Begun> {
        let around = self.0.ancestors().skip(1);
        let made = around.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = made.map(Path::to_path_buf).collect();
        write(&self.config(), &toml::to_string(config)?)?;
        Ok(Begun { folder: Self(self.0.clone()), trained: self.trained(config), made })
    }

    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.0.join("checkpoints"))
    }

    /// Figures before and after.
    pub fn evaluation(&self) -> PathBuf {
        self.0.join("evaluation.json")
    }

    pub fn predictions(&self) -> PathBuf {
        self.0.join("predictions.jsonl")
    }

    /// Of the base, for the rows that are measured before training.
    pub fn predictions_before(&self) -> PathBuf {
        self.0.join("predictions_before.jsonl")
    }

    /// What is known of the run beside its config and figures.
    pub fn facts(&self) -> PathBuf {
        self.0.join("run.json")
    }

    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// Whether a step has been made.
    pub fn has_steps(&self) -> bool {
        self.steps_bytes() > 0
    }

    /// The size of what is written down of steps.
    pub fn steps_bytes(&self) -> u64 {
        std::fs::metadata(self.metrics()).map_or(0, |metadata| metadata.len())
    }

    /// TensorBoard's files.
    fn events(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_events = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(tallow_report::EVENTS))
        };
        entries.filter(is_events).collect()
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The same, which must be there.
    pub fn trained_by_now(&self, config: &Config) -> Result<PathBuf> {
        let trained = self.trained(config);
        if !trained.is_dir() {
            bail!("{}: the run has not ended; {}", trained.display(), self.go_on());
        }
        Ok(trained)
    }

    /// What was trained: an adapter, or a model.
    pub fn trained(&self, config: &Config) -> PathBuf {
        self.0.join(if config.method.has_adapter() { "adapter" } else { "model" })
    }
}

/// A run that has begun.
pub struct Begun {
    folder: RunFolder,
    trained: PathBuf,
    /// The folders around it that were made for it, the innermost first.
    made: Vec<PathBuf>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let (metrics, checkpoints) = (self.folder.metrics(), self.folder.0.join("checkpoints"));
        if self.folder.has_steps() || checkpoints.exists() || self.trained.exists() {
            return;
        }
        let folder = &self.folder;
        let files =
            [folder.config(), folder.evaluation(), folder.predictions_before(), folder.facts(), metrics];
        for file in files.into_iter().chain(folder.events()) {
            let _ = std::fs::remove_file(file);
        }
        // What else lies there stays, and the folder with it.
        for folder in std::iter::once(&self.folder.0).chain(&self.made) {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Writes a file through one beside it, so that it is there whole or not at all; makes the folder for it.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))
        .and_then(|()| std::fs::write(&beside, text))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("{}: cannot write", path.display()))
}

/// The first part of a key.
fn section(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

/// The keys in which two configs differ.
fn differences(before: &Config, now: &Config) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (before, now) = (toml::Value::try_from(before)?, toml::Value::try_from(now)?);
    compare("", Some(&before), Some(&now), &mut found);
    Ok(found)
}

fn compare(key: &str, before: Option<&toml::Value>, now: Option<&toml::Value>, found: &mut Vec<String>) {
    match (before, now) {
        (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                compare(&key, a.get(name), b.get(name), found);
            }
        }
        (a, b) if a != b => found.push(key.to_owned()),
        _ => {}
    }
}

/// The run was stopped from outside.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl std::error::Error for Interrupted {}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signals within so long are one request.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// What Ctrl-C does.
#[derive(Clone)]
pub struct Interrupt {
    /// Set by Ctrl-C.
    pub stop: Arc<AtomicBool>,
    training: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on, the first Ctrl-C during training asks for a checkpoint; any other ends the program, with a
    /// word on how to go on with the run in `folder`.
    pub fn install(folder: &RunFolder) -> Result<Self> {
        let stopped = format!("stopped; {}", folder.go_on());
        let interrupt = Self { stop: Arc::default(), training: Arc::default() };
        let handler = interrupt.clone();
        let mut asked: Option<Instant> = None;
        ctrlc::set_handler(move || {
            handler.stop.store(true, Ordering::SeqCst);
            // Some programs signal a process and its group: that is one request.
            let again = asked.is_some_and(|asked| asked.elapsed() > ONE_REQUEST);
            if again || !handler.training.load(Ordering::SeqCst) {
                crate::progress::insist(&stopped);
                std::process::exit(i32::from(crate::INTERRUPTED));
            }
            asked.get_or_insert_with(Instant::now);
        })?;
        Ok(interrupt)
    }

    /// Ends the program in good order if a Ctrl-C came while training.
    pub fn check(&self, what: impl FnOnce() -> Interrupted) -> Result<()> {
        match self.stop.load(Ordering::SeqCst) {
            true => Err(what().into()),
            false => Ok(()),
        }
    }

    /// Whether something is under way that should come to its end: a step and its checkpoint, or what the training
    /// leaves.
    pub fn training(&self, running: bool) {
        self.training.store(running, Ordering::SeqCst);
    }
}
