//! Parity with transformers and peft, through every kind of kernels for the CPU, in each folder of `tests/golden` and
//! of `$TALLOW_GOLDENS`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use tallow_checks::compare::distance;
use tallow_checks::golden::{self, Golden, PaddedBatch};
use tallow_ops::{Composed, Cpu, Kernels};
use tallow_peft::Adapted;
use tallow_train::Schedule;

fn all() -> Vec<Golden> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut found = Golden::in_folder(&committed, true);
    if let Some(root) = std::env::var_os("TALLOW_GOLDENS").map(PathBuf::from) {
        found.extend(Golden::in_folder(&root, false));
    }
    found
}

/// Runs a check in every folder through every kind of kernels.
fn for_each(check: impl Fn(&Golden, &Arc<dyn Kernels>)) {
    let kinds: [Arc<dyn Kernels>; 2] = [Arc::new(Cpu), Arc::new(Composed::new(Device::Cpu))];
    for golden in all() {
        for kernels in &kinds {
            println!("{}, {} kernels", golden.name(), kernels.name());
            check(&golden, kernels);
        }
    }
}

#[test]
fn hidden_states_logits_and_losses() {
    for_each(golden::hidden_states_logits_and_losses);
}

#[test]
fn adapters_logits_losses_gradients_and_merged_weights() {
    for_each(golden::adapters_logits_losses_gradients_and_merged_weights);
}

#[test]
fn gradients_of_every_base_tensor() {
    for_each(golden::gradients_of_every_base_tensor);
}

#[test]
fn ten_training_steps() {
    for_each(golden::ten_training_steps);
}

#[test]
fn decodes() {
    for_each(golden::decodes);
}

#[test]
fn beams() {
    for_each(golden::beams);
}

#[test]
fn schedules() {
    for golden in all() {
        println!("{}", golden.name());
        let wanted = golden.json("schedules.json");
        let kinds = [
            ("constant", Schedule::Constant, 0),
            ("constant_with_warmup", Schedule::Constant, 5),
            ("linear", Schedule::Linear, 5),
            ("cosine", Schedule::Cosine, 5),
            ("inverse_sqrt", Schedule::InverseSqrt, 5),
        ];
        for (name, schedule, warmup) in kinds {
            let wanted = wanted[name].as_array().unwrap();
            assert_eq!(wanted.len(), 31);
            for (step, wanted) in wanted.iter().enumerate() {
                let found = schedule.factor(step, warmup, 30);
                assert!((found - wanted.as_f64().unwrap()).abs() < 1e-6, "{name}, step {step}: {found}");
            }
        }
    }
}

#[test]
fn written_adapters_are_read_back_whole() {
    for golden in all() {
        println!("{}", golden.name());
        for name in golden.adapters() {
            let source = golden.path(&format!("adapters/{name}"));
            let adapted = Adapted::load(golden.model(&Device::Cpu), &source).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("adapter");
            adapted.save(&path, &golden.path("model"), None).unwrap();
            let [wanted, found] = [&source, &path].map(|folder| golden::adapter_tensors(folder));
            assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
            for (tensor, wanted) in &wanted {
                // Of a prompt, the half for the decoder is in use nowhere; of prefixes, every other pair.
                let (rows, columns) = (wanted.dims()[0], wanted.dims().get(1).copied().unwrap_or_default());
                let [found, wanted] = [&found[tensor], wanted].map(|x| match name.as_str() {
                    "prompt_tuning" => x.narrow(0, 0, rows / 2).unwrap(),
                    "prefix_tuning" => x.narrow(1, 0, columns / 2).unwrap(),
                    _ => x.clone(),
                });
                assert_eq!(distance(&found, &wanted), 0.0, "{name}: {tensor}");
            }
            let keys = |path: &std::path::Path| {
                let text = std::fs::read_to_string(path.join("adapter_config.json")).unwrap();
                let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
                value.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(
                keys(&path),
                keys(&source),
                "{name}: adapter_config.json has peft's keys in peft's order"
            );
        }
    }
}

#[test]
fn padded_positions_are_left_out() {
    // The goldens' batches have rows of several lengths, or the comparison of real positions proves little.
    for golden in all() {
        let PaddedBatch { source_lengths, target_lengths, .. } = golden.batch();
        assert!(source_lengths.iter().max() > source_lengths.iter().min(), "{}", golden.name());
        assert!(target_lengths.iter().max() > target_lengths.iter().min(), "{}", golden.name());
    }
}
