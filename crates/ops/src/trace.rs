//! Time and products by operation, when asked for.

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
    /// Wall time.
    pub time: Duration,
    /// Floating-point operations of its matrix products.
    pub flops: u64,
    /// How often it ran.
    pub calls: u64,
}

static ON: AtomicBool = AtomicBool::new(false);
static TABLE: Mutex<BTreeMap<(Phase, &'static str), Cost>> = Mutex::new(BTreeMap::new());
thread_local!(static FLOPS: Cell<u64> = const { Cell::new(0) });

/// Starts counting, from nothing.
pub fn start() {
    TABLE.lock().expect("no holder panics").clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops counting; returns the cost of each operation by phase and name.
pub fn stop() -> BTreeMap<(Phase, &'static str), Cost> {
    ON.store(false, Ordering::Relaxed);
    std::mem::take(&mut TABLE.lock().expect("no holder panics"))
}

/// Counts the work of a matrix product towards this thread's running operation.
pub(crate) fn product(m: usize, k: usize, n: usize) {
    FLOPS.set(FLOPS.get() + 2 * (m * k * n) as u64);
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
    ON.load(Ordering::Relaxed).then(|| Span { key: (phase, name), start: Instant::now(), flops: FLOPS.get() })
}

/// A running operation; its cost is booked when this is dropped.
pub(crate) struct Span {
    key: (Phase, &'static str),
    start: Instant,
    flops: u64,
}

impl Drop for Span {
    fn drop(&mut self) {
        let mut table = TABLE.lock().expect("no holder panics");
        let cost = table.entry(self.key).or_default();
        cost.time += self.start.elapsed();
        cost.flops += FLOPS.get() - self.flops;
        cost.calls += 1;
    }
}
