//! Training in bf16, through candle's operations.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_data::Sample;
use tallow_ops::{AdamW, Composed, Update};
use tallow_peft::{Adapted, FullOptions, Initial, LoraOptions, Method, inject};
use tallow_t5::{GenerationOptions, T5};
use tallow_train::Engine;

use crate::support::{folder, ten};

fn method(full: bool) -> Method {
    if full { Method::Full(FullOptions {}) } else { Method::Lora(LoraOptions::default()) }
}

/// A model that computes in `dtype`; weights that are trained are loaded in f32.
fn adapted(full: bool, dtype: DType) -> Adapted {
    let loaded = if full { DType::F32 } else { dtype };
    let model = T5::load(&folder(), &Device::Cpu, loaded).unwrap();
    inject(model, &method(full), Initial::Seed(1), dtype).unwrap()
}

fn engine() -> Engine {
    Engine::whole(Arc::new(Composed::new(Device::Cpu)), 2)
}

/// The mean losses of `steps` steps from step `first` on.
fn train(adapted: &Adapted, first: u64, steps: u64, learning_rate: f64) -> Vec<f64> {
    let (rows, engine) = (ten(), engine());
    let rows: Vec<&Sample> = rows.iter().collect();
    let count = rows.iter().map(|row| row.target.len()).sum::<usize>() as f64;
    let gradients = adapted.parameters.gradients().unwrap();
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    (first..first + steps)
        .map(|step| {
            let loss = engine.accumulate(&adapted.model, &adapted.parameters, &rows, 0.0, None, &gradients);
            let update = Update { step, learning_rate, gradient_scale: 1.0 / count, max_grad_norm: 1.0 };
            adamw.step(&**engine.kernels(), &adapted.parameters, &gradients, update).unwrap();
            engine.read(&loss.unwrap()).unwrap().into_iter().sum::<f64>() / count
        })
        .collect()
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

#[test]
fn losses_are_near_those_of_f32_and_fall() {
    for full in [false, true] {
        let wide = train(&adapted(full, DType::F32), 1, 8, 1e-2);
        let narrow = train(&adapted(full, DType::BF16), 1, 8, 1e-2);
        for (wide, narrow) in wide.iter().zip(&narrow) {
            assert!((narrow / wide - 1.0).abs() < 2e-2, "full {full}: {narrow} for {wide}");
        }
        assert!(narrow[7] < narrow[0] - 0.05, "{narrow:?}");
        assert_ne!(wide, narrow);
    }
}

#[test]
fn steps_too_small_for_bf16_add_up_in_f32() {
    let adapted = adapted(true, DType::BF16);
    assert_eq!(adapted.model.dtype(), DType::BF16);
    // A norm's weight is near 1, where bf16 has steps of 1/128.
    let norm =
        adapted.parameters.entries().iter().position(|entry| entry.name.ends_with("layer_norm.weight"));
    let norm = norm.unwrap();
    let before = flat(&adapted.parameters.value(norm));
    train(&adapted, 1, 3, 1e-5);
    let (after, copy) = (flat(&adapted.parameters.value(norm)), adapted.parameters.traced(norm));
    assert!(before.iter().zip(&after).all(|(before, after)| (before - after).abs() < 1e-4));
    assert_ne!(before, after, "the masters have moved");
    let rounded = Tensor::new(after.as_slice(), &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
    assert_eq!(flat(copy.value()), flat(&rounded), "the model reads them rounded");

    // What is kept are the masters.
    let place = tempfile::tempdir().unwrap();
    adapted.save(&place.path().join("model"), &folder(), None).unwrap();
    let kept = T5::load(&place.path().join("model"), &Device::Cpu, DType::F32).unwrap();
    let mut kept = kept.clone();
    let name = &adapted.parameters.entries()[norm].name;
    let weight = kept.weights_mut().into_iter().find(|weight| weight.name() == name).unwrap();
    assert_eq!(flat(weight.value.value()), after);
}

#[test]
fn a_run_goes_on_as_if_never_stopped() {
    for full in [false, true] {
        let whole = adapted(full, DType::BF16);
        let losses = train(&whole, 1, 6, 1e-2);
        let first = adapted(full, DType::BF16);
        train(&first, 1, 3, 1e-2);
        let second = adapted(full, DType::BF16);
        second.parameters.restore(first.parameters.state()).unwrap();
        assert_eq!(train(&second, 4, 3, 1e-2), losses[3..]);
        assert_eq!(flat(second.parameters.state()), flat(whole.parameters.state()));
    }
}

#[test]
fn text_is_generated_in_bf16() {
    let adapted = adapted(false, DType::BF16);
    let rows = ten();
    let sources: Vec<&[u32]> = rows.iter().map(|row| row.source.as_slice()).collect();
    let options = GenerationOptions { max_new_tokens: 70, min_new_tokens: 66, ..Default::default() };
    let answers = engine().generate(&adapted.model, &sources, &options, 4, &|_| {}).unwrap();
    assert!(answers.iter().all(|answer| answer.len() >= 66), "past the room that the cache starts with");
}
