use tallow_peft::{LoraOptions, TargetModules};
use tallow_train::{Checkpoints, Engine, Observer, Outcome, Schedule, TrainingOptions, mean_loss};

use crate::support::{Run, bits, full, listing, lora, lora_with, newest, state, ten};

fn options(steps: usize) -> TrainingOptions {
    TrainingOptions { steps: Some(steps), batch_size: Some(2), ..Run::default().options }
}

#[test]
fn only_the_oldest_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions { checkpoint_every: 2, keep_checkpoints: 3, ..options(11) };
    let run = Run { options, checkpoints: Some(folder.path()), ..Default::default() };
    let (_, heard) = run.train(&mut lora());
    assert_eq!(heard.checkpoints.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4, 6, 8, 10]);
    assert_eq!(listing(folder.path()), ["step-000006", "step-000008", "step-000010"]);
    let files = ["parameters.json", "progress.json", "state.safetensors"];
    assert_eq!(listing(&folder.path().join("step-000006")), files);
    assert_eq!(newest(folder.path()).progress.step, 10);
    assert_eq!(heard.checkpoints[4].1, folder.path().join("step-000010"));
}

#[test]
fn what_an_interruption_left_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().join("none/yet"));
    assert!(checkpoints.newest().unwrap().is_none() && checkpoints.best().unwrap().is_none());
    let options = TrainingOptions { checkpoint_every: 1, ..options(3) };
    Run { options, checkpoints: Some(folder.path()), ..Default::default() }.train(&mut lora());
    for name in [".step-000009.tallow-new", ".step-000008.tallow-old", "notes"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    assert_eq!(newest(folder.path()).progress.step, 2);
}

/// A run of 14 steps whose validation loss is lowest long before its end: at this rate a few rows are soon learnt
/// by heart, and others forgotten.
fn forgetful(folder: &std::path::Path) -> Run<'_> {
    let schedule = Schedule::Constant;
    let options = TrainingOptions { learning_rate: 0.02, schedule, evaluate_every: 1, ..options(14) };
    let (rows, validation) = (ten()[..3].to_vec(), ten()[3..].to_vec());
    Run { options, rows, validation, checkpoints: Some(folder), ..Default::default() }
}

/// Removes the best state after the last step.
struct Thief<'a>(&'a std::path::Path);

impl Observer for Thief<'_> {
    fn validation(&mut self, step: usize, _loss: f64, _best: bool) -> tallow_train::Result<()> {
        if step == 14 {
            std::fs::remove_dir_all(self.0.join("best")).unwrap();
        }
        Ok(())
    }
}

#[test]
fn a_best_state_that_is_gone_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let thief = Thief(folder.path());
    let (outcome, _) = forgetful(folder.path()).resume(&mut full(), None, &mut vec![Box::new(thief)]);
    let message = outcome.unwrap_err().to_string();
    let path = folder.path().join("best");
    assert!(message.starts_with(&format!("{}: is not the state of step ", path.display())), "{message}");
}

#[test]
fn a_best_state_of_later_than_the_checkpoint_is_found_again() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut wanted = full();
    let (finished, _) = forgetful(whole.path()).train(&mut wanted);
    // The run is killed after its lowest loss; its newest checkpoint is of before it.
    let mut run = Run { stop_in: Some(1), ..forgetful(cut.path()) };
    run.train(&mut full());
    let early = newest(cut.path());
    run.stop_in = Some(13);
    run.resume(&mut full(), Some(&early), &mut Vec::new()).0.unwrap();
    let later = Checkpoints::new(cut.path().to_path_buf()).best().unwrap().unwrap();
    assert!(later.progress.step > 1);
    let mut found = full();
    let (outcome, _) = Run { stop_in: None, ..run }.resume(&mut found, Some(&early), &mut Vec::new());
    assert_eq!(outcome.unwrap(), finished);
    assert_eq!(bits(&state(&found)), bits(&state(&wanted)));
}

#[test]
fn a_validation_may_want_the_first_rows_alone() {
    let losses = |validation_rows, validation: Vec<_>| {
        let options =
            TrainingOptions { steps: Some(1), validation_rows, dropout: Some(0.0), ..Default::default() };
        Run { options, validation, ..Default::default() }.train(&mut lora()).1.validations
    };
    let first = losses(0, ten()[..2].to_vec());
    assert_eq!(losses(2, ten()), first);
    assert_eq!(losses(99, ten()[..2].to_vec()), first);
    assert_ne!(losses(0, ten()), first);
}

#[test]
fn a_run_ends_with_its_best_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let run = forgetful(folder.path());
    let mut adapted = full();
    let (outcome, heard) = run.train(&mut adapted);
    let lowest = heard.validations.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let last = heard.validations.last().unwrap();
    assert!(lowest.1 < last.1 - 0.1, "a later validation is worse: {:?}", heard.validations);
    let Outcome::Finished(progress) = outcome else { panic!("stopped") };
    assert_eq!((progress.step, progress.best_step, progress.best_loss), (14, Some(lowest.0), Some(lowest.1)));
    let mut rows = 0;
    let mut done = |more| {
        rows += more;
        Ok(())
    };
    let loss = {
        let (rows, all) = (run.validation.clone().into(), run.validation.len());
        mean_loss(&Engine::cpu(1), &adapted.model, &rows, all, &mut done).unwrap()
    };
    assert_eq!((loss, rows), (lowest.1, run.validation.len()));
    let mut best = f64::INFINITY;
    for &(step, loss, marked) in &heard.validations {
        assert_eq!(marked, loss < best, "step {step}");
        best = best.min(loss);
    }
    let kept = Checkpoints::new(folder.path().to_path_buf()).best().unwrap().unwrap();
    assert_eq!(kept.progress.step, lowest.0);
}

/// What restoring `start`'s checkpoint onto `target` is refused for.
fn refused(start: tallow_peft::Adapted, target: tallow_peft::Adapted) -> String {
    let folder = tempfile::tempdir().unwrap();
    let run =
        Run { options: options(3), checkpoints: Some(folder.path()), stop_in: Some(1), ..Default::default() };
    let mut start = start;
    run.train(&mut start);
    let before = bits(&state(&target));
    let mut target = target;
    let start = newest(folder.path());
    let (outcome, heard) = Run { stop_in: None, ..run }.resume(&mut target, Some(&start), &mut Vec::new());
    assert!(heard.steps.is_empty());
    assert_eq!(bits(&state(&target)), before, "nothing is restored");
    let message = outcome.unwrap_err().to_string();
    let path = format!("{}: ", folder.path().join("step-000001").display());
    message.strip_prefix(&path).unwrap_or_else(|| panic!("no path: {message}")).to_owned()
}

#[test]
fn a_checkpoint_of_other_parameters_is_refused() {
    let layer = "base_model.model.encoder.block.0.layer.0.SelfAttention";
    let wanted = "holds other parameters than this run trains";
    let rank = |rank| lora_with(LoraOptions { rank, ..Default::default() });
    // Padded to a multiple of 64, these take the same room.
    assert_eq!(
        refused(rank(1), rank(2)),
        format!("{wanted}: {layer}.q.lora_A.weight [1, 32] where it has {layer}.q.lora_A.weight [2, 32]")
    );
    let targets = |names: &[&str]| {
        let target_modules = TargetModules::Suffixes(names.iter().map(|&name| name.into()).collect());
        lora_with(LoraOptions { rank: 4, target_modules, ..Default::default() })
    };
    assert_eq!(
        refused(targets(&["q", "k"]), targets(&["q", "v"])),
        format!("{wanted}: {layer}.k.lora_A.weight [4, 32] where it has {layer}.v.lora_A.weight [4, 32]")
    );
    assert_eq!(
        refused(full(), lora()),
        format!("{wanted}: shared.weight [384, 32] where it has {layer}.q.lora_A.weight [4, 32]")
    );
}

#[test]
fn a_broken_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        Run { options: options(3), checkpoints: Some(folder.path()), stop_in: Some(1), ..Default::default() };
    run.train(&mut lora());
    let start = newest(folder.path());
    let path = start.path.join("state.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for length in [whole.len() - 1, 20, 0] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let adapted = lora();
        let before = bits(&state(&adapted));
        let message = start.restore(&adapted.parameters).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}: the file is cut short", path.display())), "{message}");
        assert_eq!(bits(&state(&adapted)), before);
    }
    std::fs::write(start.path.join("progress.json"), "{").unwrap();
    let message = Checkpoints::new(folder.path().to_path_buf()).newest().unwrap_err().to_string();
    assert!(message.starts_with(&start.path.join("progress.json").display().to_string()), "{message}");
}
