use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Cpu, Tape};
use tallow_peft::{Adapted, FullOptions, Initial, LoraOptions, Method, TargetModules, inject};
use tallow_t5::{Batch, T5};

pub fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model")
}

pub fn model() -> T5 {
    T5::load(&base(), &Device::Cpu, DType::F32).unwrap()
}

pub fn options() -> LoraOptions {
    LoraOptions { rank: 4, alpha: 8.0, ..Default::default() }
}

pub fn all_linear() -> LoraOptions {
    LoraOptions { target_modules: TargetModules::Pattern("all-linear".into()), ..options() }
}

pub fn lora(options: &LoraOptions, seed: u64) -> Adapted {
    inject(model(), &Method::Lora(options.clone()), Initial::Seed(seed), DType::F32).unwrap()
}

pub fn full() -> Adapted {
    inject(model(), &Method::Full(FullOptions {}), Initial::Seed(0), DType::F32).unwrap()
}

/// The parameters with no value left at its initial one.
pub fn moved(adapted: Adapted) -> Adapted {
    let state = adapted.parameters.state();
    let length = state.elem_count();
    let by: Vec<f32> = (0..length).map(|i| 0.1 * ((i * 7919 % 1000) as f32 / 500.0 - 1.001)).collect();
    let by = Tensor::from_vec(by, length, &Device::Cpu).unwrap();
    adapted.parameters.restore(&(state + by).unwrap()).unwrap();
    adapted
}

pub fn batch() -> Batch {
    let source: Vec<u32> = (0..30).map(|i| 2 + i * 37 % 382).collect();
    let target: Vec<u32> = (0..12).map(|i| 2 + i * 91 % 382).collect();
    Batch::new((&source, &[0, 20, 30]), (&target, &[0, 3, 12]), 0, &Device::Cpu).unwrap()
}

pub fn logits(model: &T5) -> Vec<Vec<f32>> {
    let (tape, batch) = (Tape::off(Arc::new(Cpu)), batch());
    let encoded = model.encode(&tape, &batch.source, &batch.source_segments).unwrap();
    let hidden = model.decode(&tape, &batch, &encoded).unwrap();
    model.logits(&tape, &hidden).unwrap().to_vec2().unwrap()
}

/// Each parameter's name and gradient.
pub fn gradients(adapted: &Adapted) -> Vec<(String, Vec<f32>)> {
    let tape = Tape::new(Arc::new(Cpu));
    let loss = adapted.model.loss(&tape, &batch(), 0.0).unwrap();
    let buffer = adapted.parameters.gradients().unwrap();
    tape.backward(loss, Tensor::new(1f32, &Device::Cpu).unwrap(), &buffer).unwrap();
    let values = |i| adapted.parameters.view(i, &buffer).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    adapted
        .parameters
        .entries()
        .iter()
        .enumerate()
        .map(|(i, entry)| (entry.name.clone(), values(i)))
        .collect()
}

/// Each parameter's name and values.
pub fn values(adapted: &Adapted) -> Vec<(String, Vec<f32>)> {
    let parameters = &adapted.parameters;
    let values =
        |i| parameters.view(i, parameters.state()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    parameters.entries().iter().enumerate().map(|(i, entry)| (entry.name.clone(), values(i))).collect()
}

/// The names in a folder, in order.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message of what must fail.
pub fn message<T>(result: tallow_peft::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error.to_string(),
    }
}
