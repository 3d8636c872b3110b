use tallow_peft::{Adapted, LoraOptions};
use tallow_train::{Outcome, Schedule, TrainingOptions};

use crate::support::{Heard, Run, bits, dropping_lora, full, lora, lora_with, newest, state, ten};

fn run() -> Run<'static> {
    let options = TrainingOptions {
        epochs: Some(4),
        batch_size: Some(3),
        accumulation: 2,
        learning_rate: 3e-3,
        schedule: Schedule::Cosine,
        warmup_steps: 2,
        weight_decay: 0.01,
        label_smoothing: 0.1,
        dropout: Some(0.1),
        evaluate_every: 3,
        ..Default::default()
    };
    Run { options, threads: 2, validation: ten()[..3].to_vec(), ..Default::default() }
}

/// 4 batches an epoch, 4 epochs, 2 batches a step: 8 steps.
const STEPS: usize = 8;

fn stopped_and_resumed(new: fn() -> Adapted) {
    let mut never = new();
    let folder = tempfile::tempdir().unwrap();
    let (wanted, whole) = Run { checkpoints: Some(folder.path()), ..run() }.train(&mut never);
    assert!(matches!(wanted, Outcome::Finished(_)));
    let losses = |heard: &Heard| heard.steps.iter().map(|step| step.loss).collect::<Vec<_>>();
    assert_eq!(whole.steps.len(), STEPS);
    for stop in 1..STEPS {
        let folder = tempfile::tempdir().unwrap();
        let run = Run { checkpoints: Some(folder.path()), stop_in: Some(stop), ..run() };
        let (outcome, before) = run.train(&mut new());
        assert!(matches!(outcome, Outcome::Stopped(progress) if progress.step == stop));
        let mut resumed = new();
        let run = Run { stop_in: None, ..run };
        let (outcome, after) = run.resume(&mut resumed, Some(&newest(folder.path())), &mut Vec::new());
        assert_eq!(outcome.unwrap(), wanted, "stopped in step {stop}");
        assert_eq!([losses(&before), losses(&after)].concat(), losses(&whole), "stopped in step {stop}");
        assert_eq!([before.validations, after.validations].concat(), whole.validations);
        assert!(bits(&state(&resumed)) == bits(&state(&never)), "stopped in step {stop}: another state");
    }
    // Were nothing random, the seed would change nothing.
    let mut other = new();
    Run { seed: 10, ..run() }.train(&mut other);
    assert!(bits(&state(&other)) != bits(&state(&never)));
}

#[test]
fn a_resumed_run_is_the_run_that_never_stopped() {
    stopped_and_resumed(dropping_lora);
}

#[test]
fn and_so_it_is_for_full_fine_tuning() {
    stopped_and_resumed(full);
}

#[test]
fn dropout_of_model_and_adapter_both_matter() {
    let last_loss = |adapted: &mut Adapted, dropout| {
        let mut run = run();
        run.options.dropout = dropout;
        run.train(adapted).1.steps.last().unwrap().loss
    };
    let none = last_loss(&mut lora(), Some(0.0));
    assert_eq!(none, last_loss(&mut lora(), None), "the model's own rate is 0");
    assert_ne!(none, last_loss(&mut lora(), Some(0.1)));
    let adapter =
        |dropout| last_loss(&mut lora_with(LoraOptions { dropout, ..Default::default() }), Some(0.0));
    assert_ne!(adapter(0.0), adapter(0.2));
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run { checkpoints: Some(folder.path()), stop_in: Some(5), ..run() };
    run.validation.clear();
    run.train(&mut dropping_lora());
    let start = newest(folder.path());
    run.options = TrainingOptions { steps: Some(5), epochs: None, ..run.options };
    let mut adapted = dropping_lora();
    let (outcome, heard) = run.resume(&mut adapted, Some(&start), &mut Vec::new());
    assert!(matches!(outcome.unwrap(), Outcome::Finished(progress) if progress.step == 5));
    assert!(heard.steps.is_empty());
    let stopped = dropping_lora();
    start.restore(&stopped.parameters).unwrap();
    assert_eq!(bits(&state(&adapted)), bits(&state(&stopped)));
}
