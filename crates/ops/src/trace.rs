//! Time, products and launches by operation, when asked for.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The part of a step that an operation ran in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// From inputs to loss.
    Forward,
    /// From loss to gradients.
    Backward,
    /// The optimiser.
    Update,
}

/// What one operation cost since [`start`], summed over threads.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cost {
    /// The time in which it ran, by the kernels' clock.
    pub time: Duration,
    /// Floating-point operations of its matrix products.
    pub flops: u64,
    /// Launches of kernels and of cuBLAS products on a device; those of candle's own operations are not seen.
    pub launches: u64,
    /// How often it ran.
    pub calls: u64,
}

/// A point of time on some clock.
pub type Mark = Box<dyn Any + Send>;

/// What tells when an operation starts and ends.
pub trait Clock: Send {
    /// The point of time that the work so far reaches; it may lie ahead.
    fn mark(&self) -> Mark;

    /// The time between two marks, waiting for them if need be; zero if it cannot be told.
    fn between(&self, start: &Mark, end: &Mark) -> Duration;
}

/// The host's own clock: for kernels that have finished when they return.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

impl Clock for HostClock {
    fn mark(&self) -> Mark {
        Box::new(Instant::now())
    }

    fn between(&self, start: &Mark, end: &Mark) -> Duration {
        match (start.downcast_ref::<Instant>(), end.downcast_ref::<Instant>()) {
            (Some(start), Some(end)) => end.duration_since(*start),
            _ => Duration::ZERO,
        }
    }
}

type Key = (Phase, &'static str);

/// One run of one operation.
struct Run {
    key: Key,
    marks: [Mark; 2],
    flops: u64,
    launches: u64,
}

struct Recording {
    clock: Box<dyn Clock>,
    runs: Vec<Run>,
}

static ON: AtomicBool = AtomicBool::new(false);
static RECORDING: Mutex<Option<Recording>> = Mutex::new(None);
thread_local!(static FLOPS: Cell<u64> = const { Cell::new(0) });
thread_local!(static LAUNCHES: Cell<u64> = const { Cell::new(0) });

/// Starts counting, from nothing, by this clock.
pub fn start(clock: Box<dyn Clock>) {
    *RECORDING.lock().expect("no holder panics") = Some(Recording { clock, runs: Vec::new() });
    ON.store(true, Ordering::Relaxed);
}

/// Stops counting; returns the cost of each operation by phase and name.
pub fn stop() -> BTreeMap<Key, Cost> {
    ON.store(false, Ordering::Relaxed);
    let mut table: BTreeMap<Key, Cost> = BTreeMap::new();
    let Some(Recording { clock, runs }) = RECORDING.lock().expect("no holder panics").take() else {
        return table;
    };
    for Run { key, marks: [start, end], flops, launches } in &runs {
        let cost = table.entry(*key).or_default();
        cost.time += clock.between(start, end);
        cost.flops += flops;
        cost.launches += launches;
        cost.calls += 1;
    }
    table
}

/// Counts the work of a matrix product towards this thread's running operation.
pub(crate) fn product(m: usize, k: usize, n: usize) {
    FLOPS.set(FLOPS.get() + 2 * (m * k * n) as u64);
}

/// Counts a launch on a device towards this thread's running operation.
#[cfg(feature = "cuda")]
pub(crate) fn launch() {
    LAUNCHES.set(LAUNCHES.get() + 1);
}

pub(crate) fn forward(name: &'static str) -> Option<Span> {
    span(Phase::Forward, name)
}

pub(crate) fn backward(name: &'static str) -> Option<Span> {
    span(Phase::Backward, name)
}

pub(crate) fn update(name: &'static str) -> Option<Span> {
    span(Phase::Update, name)
}

fn span(phase: Phase, name: &'static str) -> Option<Span> {
    if !ON.load(Ordering::Relaxed) {
        return None;
    }
    let start = mark()?;
    Some(Span { key: (phase, name), start: Some(start), flops: FLOPS.get(), launches: LAUNCHES.get() })
}

fn mark() -> Option<Mark> {
    RECORDING.lock().expect("no holder panics").as_ref().map(|recording| recording.clock.mark())
}

/// A running operation; its cost is booked when this is dropped.
pub(crate) struct Span {
    key: Key,
    start: Option<Mark>,
    flops: u64,
    launches: u64,
}

impl Drop for Span {
    fn drop(&mut self) {
        let mut recording = RECORDING.lock().expect("no holder panics");
        let (Some(recording), Some(start)) = (recording.as_mut(), self.start.take()) else { return };
        recording.runs.push(Run {
            key: self.key,
            marks: [start, recording.clock.mark()],
            flops: FLOPS.get() - self.flops,
            launches: LAUNCHES.get() - self.launches,
        });
    }
}
