//! The figures of runs, as JSON: what the page draws, and what `tallow report --json` prints.

use serde::Serialize;
use serde_json::{Value, json};

use crate::curve::{Point, smooth, thin};
use crate::run::{Step, differences};
use crate::{Run, samples};

/// A curve is drawn through at most so many points.
const POINTS: usize = 600;

/// The figures of runs as one object: `runs`, and the keys in which their configs differ. Curves are lists of [step,
/// value], thinned to 600 points.
pub fn figures(runs: &[Run]) -> Value {
    let configs: Vec<&toml::Table> = runs.iter().map(|run| &run.config).collect();
    let differences: Vec<Value> = differences(&configs)
        .into_iter()
        .map(|(key, values)| json!({ "key": key, "values": values }))
        .collect();
    json!({ "runs": runs.iter().map(of_run).collect::<Vec<_>>(), "differences": differences })
}

fn of_run(run: &Run) -> Value {
    let (log, last) = (&run.log, run.log.last());
    let (samples, _) = samples::samples(run);
    json!({
        "name": run.name,
        "label": run.label,
        "state": State::of(run),
        "facts": run.facts,
        "steps": last.step,
        "epochs": last.epoch + 1,
        "tokens": log.tokens(),
        "step_seconds": log.seconds(),
        "tokens_per_second": log.tokens() as f64 / log.seconds().max(1e-6),
        "peak_memory": log.peak_memory(),
        "loss": Curves::of(run).smoothed_or(Curve::Loss).last().map(|point| point.1),
        "lowest_validation_loss": log.best().map(|best| json!({ "step": best.step, "loss": best.loss })),
        "evaluation": run.evaluations,
        "adapter": run.adapter,
        "prompt": run.prompt,
        "samples": samples,
        "config": run.config,
        "curves": Curves::of(run).json(),
    })
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Steps are left.
    Stopped,
    /// What it trained is there.
    Trained,
    /// And has been measured.
    Measured,
}

impl State {
    pub(crate) fn of(run: &Run) -> Self {
        match (&run.evaluations.after, run.is_trained) {
            (_, false) => Self::Stopped,
            (None, true) => Self::Trained,
            (Some(_), true) => Self::Measured,
        }
    }
}

/// A figure of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    Loss,
    LearningRate,
    GradNorm,
    TokensPerSecond,
    Memory,
}

impl Curve {
    pub(crate) const ALL: [Self; 5] =
        [Self::Loss, Self::LearningRate, Self::GradNorm, Self::TokensPerSecond, Self::Memory];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::LearningRate => "learning_rate",
            Self::GradNorm => "grad_norm",
            Self::TokensPerSecond => "tokens_per_second",
            Self::Memory => "peak_memory",
        }
    }

    /// Whether it jumps from step to step, so that a mean says more.
    fn is_noisy(self) -> bool {
        matches!(self, Self::Loss | Self::GradNorm | Self::TokensPerSecond)
    }

    fn value(self, step: &Step) -> Option<f64> {
        match self {
            Self::Loss => Some(step.loss),
            Self::LearningRate => Some(step.learning_rate),
            Self::GradNorm => Some(step.grad_norm),
            Self::TokensPerSecond => Some(step.tokens_per_second()),
            Self::Memory => step.peak_memory.map(|bytes| bytes as f64),
        }
    }
}

/// The curves of a run, thinned.
pub(crate) struct Curves {
    plain: Vec<Vec<Point>>,
    smoothed: Vec<Vec<Point>>,
    pub(crate) validation: Vec<Point>,
}

impl Curves {
    pub(crate) fn of(run: &Run) -> Self {
        let log = &run.log;
        let (mut plain, mut smoothed) = (Vec::new(), Vec::new());
        for curve in Curve::ALL {
            let points: Vec<Point> =
                log.steps.iter().filter_map(|step| Some((step.step as f64, curve.value(step)?))).collect();
            let means = if curve.is_noisy() { smooth(&points) } else { None };
            plain.push(thin(&points, POINTS));
            smoothed.push(thin(&means.unwrap_or_default(), POINTS));
        }
        let validation: Vec<Point> =
            log.validations.iter().map(|validation| (validation.step as f64, validation.loss)).collect();
        Self { plain, smoothed, validation: thin(&validation, POINTS) }
    }

    pub(crate) fn plain(&self, curve: Curve) -> &[Point] {
        &self.plain[curve as usize]
    }

    /// Empty if the curve is not smoothed.
    pub(crate) fn smoothed(&self, curve: Curve) -> &[Point] {
        &self.smoothed[curve as usize]
    }

    pub(crate) fn smoothed_or(&self, curve: Curve) -> &[Point] {
        let smoothed = self.smoothed(curve);
        if smoothed.is_empty() { self.plain(curve) } else { smoothed }
    }

    fn json(&self) -> Value {
        let mut found = serde_json::Map::new();
        for curve in Curve::ALL {
            found.insert(curve.key().to_owned(), points(self.plain(curve)));
            if !self.smoothed(curve).is_empty() {
                found.insert(format!("{}_smoothed", curve.key()), points(self.smoothed(curve)));
            }
        }
        found.insert("validation_loss".to_owned(), points(&self.validation));
        Value::Object(found)
    }
}

/// Six digits are more than can be seen.
fn points(points: &[Point]) -> Value {
    let rounded = |value: f64| format!("{value:.5e}").parse::<f64>().unwrap_or(value);
    points.iter().map(|&(step, value)| json!([step as u64, rounded(value)])).collect()
}
