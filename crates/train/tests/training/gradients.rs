use candle_core::Tensor;
use tallow_data::Sample;
use tallow_ops::Randomness;
use tallow_peft::Adapted;
use tallow_t5::{Checkpointing, Training};
use tallow_train::{Engine, TrainingOptions, mean_loss};

use crate::support::{Run, distance, full, lora, rows, set_state, state, ten, thirds};

/// LoRA whose B is not zero any more.
fn moved() -> Adapted {
    let adapted = lora();
    let state = state(&adapted).into_iter().enumerate();
    set_state(&adapted, state.map(|(i, x)| x + 0.01 * ((i * 7919 % 100) as f32 / 50.0 - 1.0)).collect());
    adapted
}

#[test]
fn accumulated_batches_weigh_by_their_tokens() {
    // Two rows of few target tokens, two of many, whichever batches they fall into.
    let rows = rows(&[(9, 2), (30, 3), (12, 45), (20, 60)]);
    let step = |batch_size, accumulation| {
        let options = TrainingOptions {
            steps: Some(1),
            batch_size: Some(batch_size),
            accumulation,
            max_grad_norm: 0.0,
            ..Run::default().options
        };
        let mut adapted = moved();
        set_state(
            &adapted,
            [&thirds(&adapted)[0][..], &vec![0.0; 2 * adapted.parameters.buffer_len()]].concat(),
        );
        let (_, heard) = Run { options, rows: rows.clone(), ..Default::default() }.train(&mut adapted);
        (heard.steps[0].clone(), thirds(&adapted))
    };
    let (whole, [_, m, v]) = step(4, 1);
    for (batch_size, accumulation) in [(2, 2), (1, 4), (3, 2)] {
        let (found, [_, found_m, found_v]) = step(batch_size, accumulation);
        assert!((found.loss - whole.loss).abs() < 1e-6 * whole.loss, "{} {}", found.loss, whole.loss);
        assert!((found.grad_norm - whole.grad_norm).abs() < 1e-6 * whole.grad_norm);
        assert_eq!(found.tokens, whole.tokens);
        assert!(distance(&found_m, &m) < 1e-6, "{}", distance(&found_m, &m));
        assert!(distance(&found_v, &v) < 2e-6, "{}", distance(&found_v, &v));
    }
    // The mean of the rows' means is another figure.
    let engine = Engine::cpu(1);
    let mean = |rows: &[Sample]| {
        let (samples, all) = (rows.to_vec().into(), rows.len());
        mean_loss(&engine, &moved().model, &samples, all, &mut |_| Ok(())).unwrap()
    };
    assert!((mean(&rows) - whole.loss).abs() < 1e-5 * whole.loss);
    let means = rows.iter().map(|row| mean(std::slice::from_ref(row))).sum::<f64>() / 4.0;
    assert!((means - whole.loss).abs() > 1e-3 * whole.loss, "{means} {}", whole.loss);
}

/// The sum of numbers that an engine gave.
fn total(engine: &Engine, parts: &[Tensor]) -> f64 {
    engine.read(parts).unwrap().into_iter().sum()
}

/// The sum of the losses, and the gradient.
fn accumulate(adapted: &Adapted, threads: usize, rows: &[Sample]) -> (f64, Vec<f32>) {
    let gradients = adapted.parameters.gradients().unwrap();
    let rows: Vec<&Sample> = rows.iter().collect();
    let engine = Engine::cpu(threads);
    let loss = engine.accumulate(&adapted.model, &adapted.parameters, &rows, 0.1, None, &gradients).unwrap();
    (total(&engine, &loss), gradients.to_vec1().unwrap())
}

#[test]
fn threads_change_no_gradient() {
    for adapted in [moved(), full()] {
        // One row is not dealt: the threads share its operations.
        for rows in [&ten()[..], &ten()[6..7]] {
            let (loss, gradient) = accumulate(&adapted, 1, rows);
            for threads in [2, 3, 16] {
                let (found_loss, found) = accumulate(&adapted, threads, rows);
                assert!((found_loss - loss).abs() < 1e-5 * loss, "{threads}: {found_loss} {loss}");
                let far = distance(&found, &gradient);
                assert!(far < 1e-5, "{} rows, {threads} threads: {far}", rows.len());
                assert_eq!((found_loss, found), accumulate(&adapted, threads, rows), "a second time");
            }
            let samples: Vec<&Sample> = rows.iter().collect();
            let losses = [1, 2, 3].map(|threads| {
                let engine = Engine::cpu(threads);
                total(&engine, &engine.loss(&adapted.model, &samples).unwrap())
            });
            assert!(losses.iter().all(|found| (found - losses[0]).abs() < 1e-5 * loss), "{losses:?}");
        }
    }
}

#[test]
fn gradients_add_up() {
    let adapted = moved();
    let (_, both) = accumulate(&adapted, 2, &ten()[..4]);
    let sum = adapted.parameters.gradients().unwrap();
    let engine = Engine::cpu(2);
    for rows in [&ten()[..1], &ten()[1..4]] {
        let rows: Vec<&Sample> = rows.iter().collect();
        engine.accumulate(&adapted.model, &adapted.parameters, &rows, 0.1, None, &sum).unwrap();
    }
    assert!(distance(&sum.to_vec1().unwrap(), &both) < 1e-5);
}

#[test]
fn shards_drop_apart() {
    let mut adapted = moved();
    adapted.model.training.dropout = 0.3;
    // Two equal rows on two threads.
    let row = &ten()[1];
    let stream = |shard: u64| Randomness::new(1, 2, shard);
    let gradient = |rows: &[&Sample], stream: &(dyn Fn(u64) -> Randomness + Sync)| -> (f64, Tensor) {
        let gradients = adapted.parameters.gradients().unwrap();
        let (model, parameters) = (&adapted.model, &adapted.parameters);
        let engine = Engine::cpu(2);
        let loss = engine.accumulate(model, parameters, rows, 0.0, Some(stream), &gradients).unwrap();
        (total(&engine, &loss), gradients)
    };
    let alone = [0, 1].map(|shard| gradient(&[row], &move |_| stream(shard)).0);
    assert_ne!(alone[0], alone[1]);
    let together = gradient(&[row, row], &stream).0;
    assert!((together - alone[0] - alone[1]).abs() < 1e-4 * together, "{together} {alone:?}");
}

#[test]
fn checkpointing_changes_neither_losses_nor_masks_nor_gradients() {
    let rows = ten();
    let rows: Vec<&Sample> = rows.iter().collect();
    let stream = |shard: u64| Randomness::new(1, 2, shard);
    for mut adapted in [moved(), full()] {
        for p in [0.0, 0.3] {
            let [plain, again] = [Checkpointing::None, Checkpointing::Layer].map(|checkpointing| {
                adapted.model.training = Training { dropout: p, checkpointing };
                let gradients = adapted.parameters.gradients().unwrap();
                let (model, parameters) = (&adapted.model, &adapted.parameters);
                let engine = Engine::cpu(2);
                let loss =
                    engine.accumulate(model, parameters, &rows, 0.1, Some(&stream), &gradients).unwrap();
                (total(&engine, &loss), gradients.to_vec1::<f32>().unwrap())
            });
            assert_eq!(plain.0, again.0, "dropout {p}");
            let far = distance(&again.1, &plain.1);
            assert!(far < 1e-6, "dropout {p}: {far}");
            assert!(plain.1.iter().any(|&g| g != 0.0));
        }
    }
}

#[test]
fn an_engine_has_at_least_one_thread() {
    let engine = Engine::cpu(0);
    assert_eq!(engine.threads(), 1);
    assert!(mean_loss(&engine, &lora().model, &ten().into(), 10, &mut |_| Ok(())).unwrap() > 1.0);
}
