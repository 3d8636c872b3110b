use std::path::Path;

use serde_json::Value;
use tallow_train::{Checkpoints, MetricsLog, Observer, TrainingOptions};

use crate::support::{Run, lora, ten};

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// (step, whether it is a validation) of each line.
fn order(path: &Path) -> Vec<(u64, bool)> {
    let order = lines(path).into_iter();
    order.map(|line| (line["step"].as_u64().unwrap(), line.get("validation_loss").is_some())).collect()
}

#[test]
fn a_resumed_log_has_each_line_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, place) = (folder.path().join("metrics.jsonl"), folder.path().join("checkpoints"));
    let checkpoints = Checkpoints::new(place.clone());
    let run = |stop_in| {
        let options = TrainingOptions {
            steps: Some(8),
            batch_size: Some(3),
            evaluate_every: 2,
            checkpoint_every: 4,
            ..Run::default().options
        };
        Run {
            options,
            validation: ten()[..1].to_vec(),
            checkpoints: Some(&place),
            stop_in,
            ..Default::default()
        }
    };
    let log = |step| -> Box<dyn Observer> { Box::new(MetricsLog::open(&path, step).unwrap()) };
    run(Some(6)).resume(&mut lora(), None, &mut vec![log(0)]).0.unwrap();
    assert_eq!(order(&path).last(), Some(&(6, true)));
    // The run is cut off while it writes: its newest checkpoint is lost, the last line torn.
    std::fs::remove_dir_all(place.join("step-000006")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{{\"step\":7,\"epo")).unwrap();
    let start = checkpoints.newest().unwrap().unwrap();
    assert_eq!(start.progress.step, 4);
    run(None).resume(&mut lora(), Some(&start), &mut vec![log(4)]).0.unwrap();
    let wanted = (1..=8).flat_map(|step| [Some((step, false)), (step % 2 == 0).then_some((step, true))]);
    assert_eq!(order(&path), wanted.flatten().collect::<Vec<_>>());

    // The same run without a break writes the same figures.
    let whole = folder.path().join("whole.jsonl");
    std::fs::remove_dir_all(&place).unwrap();
    let observer: Box<dyn Observer> = Box::new(MetricsLog::open(&whole, 0).unwrap());
    run(None).resume(&mut lora(), None, &mut vec![observer]).0.unwrap();
    let figures = |path| {
        let lines = lines(path).into_iter();
        // What differs from run to run.
        let same = |key: &String| !["seconds", "peak_memory"].contains(&key.as_str());
        lines
            .map(|mut line| {
                line.as_object_mut().unwrap().retain(|key, _| same(key));
                line
            })
            .collect::<Vec<Value>>()
    };
    assert_eq!(figures(&path), figures(&whole));
}

#[test]
fn a_line_has_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let observer: Box<dyn Observer> = Box::new(MetricsLog::open(&path, 0).unwrap());
    let options = TrainingOptions { steps: Some(1), ..Run::default().options };
    let run = Run { options, validation: ten()[..1].to_vec(), ..Default::default() };
    let (_, heard) = run.resume(&mut lora(), None, &mut vec![observer]);
    let (found, report) = (lines(&path), &heard.steps[0]);
    let keys = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut wanted = vec!["step", "epoch", "loss", "grad_norm", "learning_rate", "tokens", "seconds"];
    if cfg!(target_os = "linux") {
        wanted.push("peak_memory");
    }
    assert_eq!(keys(&found[0]), wanted);
    assert_eq!(keys(&found[1]), ["step", "validation_loss", "best"]);
    assert_eq!(found[0]["loss"], report.loss);
    assert_eq!(found[0]["tokens"], report.tokens);
    assert!(found[0]["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(found[1]["validation_loss"], heard.validations[0].1);
    // A new run starts a new log.
    drop(MetricsLog::open(&path, 0).unwrap());
    assert!(lines(&path).is_empty());
}
