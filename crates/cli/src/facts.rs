//! What is known of a run beside its config and figures: run.json.

use std::time::Instant;

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use tallow_report::{Facts, Part};
use tallow_t5::T5;

use crate::compute::Compute;
use crate::config::Config;
use crate::progress::say;
use crate::run::{RunFolder, write};

/// A part of a run that is under way: from a start, or a resume, until this is dropped.
pub struct Session<'a> {
    folder: &'a RunFolder,
    facts: Facts,
    begin: Instant,
}

impl<'a> Session<'a> {
    /// Begins a part of the run after so many steps of `trainable` values.
    pub fn begin(
        folder: &'a RunFolder,
        config: &Config,
        compute: &Compute,
        base: &T5,
        trainable: usize,
        after_step: usize,
    ) -> Result<Self> {
        let mut facts = read(folder)?;
        if facts.parts.is_empty() {
            facts.version = env!("CARGO_PKG_VERSION").to_owned();
            facts.method = config.method.to_string();
            (facts.trainable, facts.parameters) = (trainable, base.parameters());
        }
        let started = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        facts.parts.push(Part { after_step, started, seconds: None, machine: machine(compute) });
        let session = Self { folder, facts, begin: Instant::now() };
        session.write()?;
        Ok(session)
    }

    fn write(&self) -> Result<()> {
        write(&self.folder.facts(), &(serde_json::to_string_pretty(&self.facts)? + "\n"))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(part) = self.facts.parts.last_mut() {
            part.seconds = Some((self.begin.elapsed().as_secs_f64() * 1e3).round() / 1e3);
        }
        // A run that went well has not failed for want of it.
        if let Err(error) = self.write() {
            say(&format!("{error:#}"));
        }
    }
}

fn read(folder: &RunFolder) -> Result<Facts> {
    let path = folder.facts();
    if !path.exists() {
        return Ok(Facts::default());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: not valid", path.display()))
}

/// What computes, in words: `Intel(R) Xeon(R) Platinum 8480, AVX-512, 2 threads`.
fn machine(compute: &Compute) -> String {
    if !compute.device().is_cpu() {
        return compute.describe();
    }
    let parts = [processor(), Some(compute.engine.kernels().hardware()), Some(compute.describe())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The processor's name, where the system tells.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
