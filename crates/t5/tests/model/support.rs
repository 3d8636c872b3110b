use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Cpu, Tape};
use tallow_t5::{Batch, T5};

pub const MODELS: [&str; 2] = ["tiny-gated", "tiny-tied"];

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name).join("model")
}

pub fn model(name: &str) -> T5 {
    T5::load(&folder(name), &Device::Cpu, DType::F32).unwrap()
}

/// The checkpoint's tensors, as they are stored.
pub fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder(name).join("model.safetensors"), &Device::Cpu).unwrap()
}

/// A folder with `name`'s config, and `tensors` as its weights.
pub fn written(name: &str, tensors: &HashMap<String, Tensor>) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder(name).join("config.json"), copy.path().join("config.json")).unwrap();
    candle_core::safetensors::save(tensors, copy.path().join("model.safetensors")).unwrap();
    copy
}

pub fn off() -> Tape {
    Tape::off(Arc::new(Cpu))
}

/// (source, target) rows of unlike lengths.
pub fn rows() -> Vec<(Vec<u32>, Vec<u32>)> {
    let row = |number: usize, length: usize| {
        let mut ids: Vec<u32> = (0..length).map(|i| (2 + (i * 37 + number * 101) % 382) as u32).collect();
        ids.push(1);
        ids
    };
    [(11, 4), (40, 17), (1, 1), (25, 9)]
        .iter()
        .zip(0..)
        .map(|(&(s, t), i)| (row(i, s), row(i + 7, t)))
        .collect()
}

pub fn batch(rows: &[(Vec<u32>, Vec<u32>)]) -> Batch {
    fn join<'a>(rows: impl Iterator<Item = &'a Vec<u32>>) -> (Vec<u32>, Vec<usize>) {
        let (mut ids, mut bounds) = (Vec::new(), vec![0]);
        for row in rows {
            ids.extend(row);
            bounds.push(ids.len());
        }
        (ids, bounds)
    }
    let (source, target) = (join(rows.iter().map(|row| &row.0)), join(rows.iter().map(|row| &row.1)));
    Batch::new((&source.0, &source.1), (&target.0, &target.1), 0, &Device::Cpu).unwrap()
}

/// (target tokens, V).
pub fn logits(model: &T5, batch: &Batch) -> Vec<Vec<f32>> {
    let tape = off();
    let encoded = model.encode(&tape, &batch.source, &batch.source_segments).unwrap();
    let hidden = model.decode(&tape, batch, &encoded).unwrap();
    model.logits(&tape, &hidden).unwrap().to_vec2().unwrap()
}

pub fn loss(model: &T5, tape: &Tape, rows: &[(Vec<u32>, Vec<u32>)]) -> f64 {
    let loss = model.loss(tape, &batch(rows), 0.0).unwrap();
    f64::from(loss.value().to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap())
}

/// The message of what must fail.
pub fn message<T>(result: tallow_t5::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error.to_string(),
    }
}
