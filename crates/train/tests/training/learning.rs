use tallow_train::{Schedule, TrainingOptions};

use crate::support::{Run, dropping_lora, lora, ten};

/// The training loss at the beginning and at the end, over a few rows.
fn losses(adapted: &mut tallow_peft::Adapted, dropout: f64) -> (f64, f64) {
    let options = TrainingOptions {
        steps: Some(150),
        batch_size: Some(4),
        learning_rate: 0.005,
        schedule: Schedule::Constant,
        warmup_steps: 3,
        dropout: Some(dropout),
        ..Default::default()
    };
    let run = Run { options, rows: ten()[..4].to_vec(), threads: 2, ..Default::default() };
    let (_, heard) = run.train(adapted);
    let last = heard.steps.iter().rev().take(5).map(|step| step.loss).sum::<f64>() / 5.0;
    (heard.steps[0].loss, last)
}

#[test]
fn a_few_rows_are_learnt_by_heart() {
    let (first, last) = losses(&mut lora(), 0.0);
    assert!(last < 0.5 * first, "{first} to {last}");
}

#[test]
fn and_so_they_are_with_dropout() {
    let (first, last) = losses(&mut dropping_lora(), 0.1);
    assert!(last < 0.5 * first, "{first} to {last}");
}
