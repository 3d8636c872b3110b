use std::sync::Arc;

use candle_core::{Device, Tensor};
use tallow_ops::{Cpu, Randomness, Tape};

use crate::support::{MODELS, batch, logits, loss, message, model, off, rows};

#[test]
fn a_batch_is_the_sum_of_its_rows() {
    for name in MODELS {
        let model = model(name);
        let rows = rows();
        let alone: Vec<f64> =
            rows.iter().map(|row| loss(&model, &off(), std::slice::from_ref(row))).collect();
        let sum: f64 = alone.iter().sum();
        for order in [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
            let packed = loss(&model, &off(), &order.map(|row| rows[row].clone()));
            assert!((packed - sum).abs() <= 1e-5 * sum, "{name}, {order:?}: {packed}, not {sum}");
        }
        let all = logits(&model, &batch(&rows));
        let row = logits(&model, &batch(&rows[3..]));
        let far = all[all.len() - row.len()..].iter().flatten().zip(row.iter().flatten());
        let far = far.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{name}: a row's logits move by {far} beside others");
    }
}

fn dropped(name: &str, p: f64, randomness: Randomness) -> f64 {
    let mut model = model(name);
    model.training.dropout = p;
    loss(&model, &Tape::with_dropout(Arc::new(Cpu), randomness), &rows())
}

#[test]
fn dropout_is_a_function_of_its_randomness() {
    for name in MODELS {
        let plain = loss(&model(name), &off(), &rows());
        let first = dropped(name, 0.1, Randomness::new(3, 5, 0));
        assert_eq!(first, dropped(name, 0.1, Randomness::new(3, 5, 0)));
        let others = [(4, 5, 0), (3, 6, 0), (3, 5, 1)];
        for (seed, step, stream) in others {
            assert_ne!(
                first,
                dropped(name, 0.1, Randomness::new(seed, step, stream)),
                "{seed} {step} {stream}"
            );
        }
        assert_ne!(first, plain);
        let none = dropped(name, 0.0, Randomness::new(3, 5, 0));
        assert!((none - plain).abs() <= 1e-6 * plain);
    }
}

#[test]
fn a_tape_without_dropout_drops_nothing() {
    let mut model = model("tiny-gated");
    let plain = loss(&model, &off(), &rows());
    model.training.dropout = 0.5;
    assert_eq!(loss(&model, &off(), &rows()), plain);
    assert_eq!(loss(&model, &Tape::new(Arc::new(Cpu)), &rows()), plain);
}

#[test]
fn ids_past_the_vocabulary_are_refused() {
    let model = model("tiny-gated");
    for side in 0..2 {
        let mut rows = rows();
        let row = if side == 0 { &mut rows[1].0 } else { &mut rows[1].1 };
        row[0] = 384;
        let found = message(model.loss(&off(), &batch(&rows), 0.0));
        assert!(found.contains("384"), "{found}");
    }
    // A label that the decoder is never shown: the last of a row.
    let mut last = rows();
    *last[0].1.last_mut().unwrap() = 1000;
    let found = message(model.loss(&off(), &batch(&last), 0.0));
    assert!(found.contains("1000"), "{found}");
    let found = message(model.check_ids(&[3, 999]));
    assert_eq!(
        found,
        "token id 999 is past the model's vocabulary of 384: is this the model's own tokenizer?"
    );
    let ids = Tensor::new(&[3u32, 999], &Device::Cpu).unwrap();
    let segments = Arc::new(tallow_ops::Segments::packed([2]));
    assert!(message(model.encode(&off(), &ids, &segments)).contains("999"));
}
