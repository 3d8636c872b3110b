//! Memory by type, foreseen.

use anyhow::Result;
use candle_core::DType;
use serde::Serialize;
use tallow_peft::Method;
use tallow_t5::{GenerationOptions, T5};
use tallow_train::{Engine, resident_memory};

use crate::progress::size;

/// The memory that something takes in one type; all in bytes.
#[derive(Serialize)]
pub struct Memory {
    pub dtype: &'static str,
    on: &'static str,
    /// Whether what was foreseen has been held against what it came to; else it is the formula's alone.
    checked: bool,
    /// What it is made of.
    #[serde(flatten)]
    pub parts: Parts,
    /// The most that the process, or the device, takes at a time.
    pub peak_bytes: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Parts {
    Training { weights_bytes: u64, trained_bytes: u64, activation_bytes: u64 },
    Generation { weights_bytes: u64, encoder_bytes: u64, cache_bytes: u64 },
}

/// The types that something computes in.
const TYPES: [DType; 2] = [DType::F32, DType::BF16];

fn memory(engine: &Engine, dtype: DType, parts: Parts, peak: f64) -> Memory {
    // bf16 is for GPUs.
    let host = dtype == DType::F32 && engine.kernels().device().is_cpu();
    // What the process has by now, its rows included, it will have then.
    let resident = if host { resident_memory().unwrap_or_default() } else { 0 };
    Memory {
        dtype: dtype.as_str(),
        on: if host { "CPU" } else { "GPU" },
        checked: host,
        parts,
        peak_bytes: resident as u64 + peak as u64,
    }
}

/// What training takes.
pub fn training(
    engine: &Engine,
    base: &T5,
    method: &Method,
    batches: &[Vec<(usize, usize)>],
) -> Result<Vec<Memory>> {
    let memories = TYPES.into_iter().map(|dtype| {
        let found = engine.training_memory(base, method, batches.iter().cloned(), dtype)?;
        let parts = Parts::Training {
            weights_bytes: found.weights as u64,
            trained_bytes: found.trained as u64,
            activation_bytes: found.activations as u64,
        };
        Ok(memory(engine, dtype, parts, found.total()))
    });
    memories.collect()
}

/// What generation takes.
pub fn generation(
    engine: &Engine,
    base: &T5,
    sources: &[usize],
    options: &GenerationOptions,
    batch: usize,
) -> Vec<Memory> {
    let memories = TYPES.into_iter().map(|dtype| {
        let found = engine.generation_memory(base, sources, options, batch, dtype);
        let parts = Parts::Generation {
            weights_bytes: found.weights as u64,
            encoder_bytes: found.encoding as u64,
            cache_bytes: found.cache as u64,
        };
        memory(engine, dtype, parts, found.total())
    });
    memories.collect()
}

/// A line of a table.
pub fn line(memory: &Memory) -> String {
    let Memory { dtype, on, parts, peak_bytes, checked } = memory;
    let parts = match *parts {
        Parts::Training { weights_bytes, trained_bytes, activation_bytes } => {
            let weights = match weights_bytes {
                // With every weight trained there are no others.
                0 => String::new(),
                bytes => format!("weights {}, ", size(bytes)),
            };
            let (trained, activations) = (size(trained_bytes), size(activation_bytes));
            format!("{weights}trained and its moments {trained}, activations {activations}")
        }
        Parts::Generation { weights_bytes, encoder_bytes, cache_bytes } => {
            let (weights, encoder, cache) = (size(weights_bytes), size(encoder_bytes), size(cache_bytes));
            format!("weights {weights}, encoder {encoder}, then keys and values {cache}")
        }
    };
    let star = if *checked { "" } else { "*" };
    format!("about {} in {dtype} on a {on}{star}: {parts}", size(*peak_bytes))
}
