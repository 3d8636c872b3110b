use std::path::Path;

use candle_core::{Device, Tensor};
use tallow_ops::Parameters;
use tallow_train::{Error, Observer, Outcome, Result, TrainingOptions};

use crate::support::{Run, bits, full, listing, lora, newest, set_state, state, ten};

fn options() -> TrainingOptions {
    TrainingOptions { steps: Some(6), batch_size: Some(3), ..Run::default().options }
}

#[test]
fn any_weight_that_is_not_a_number_is_noticed() {
    let entries = full().parameters.entries().to_vec();
    assert!(entries.len() > 40);
    for entry in entries {
        let mut adapted = full();
        let mut values = state(&adapted);
        // The first id that a row looks up is 39; row 0 of other tensors takes part in every loss.
        let at = if entry.name == "shared.weight" { 39 * 32 } else { 0 };
        values[entry.offset + at] = f32::NAN;
        let before = bits(&values);
        set_state(&adapted, values);
        let (outcome, heard) = Run { options: options(), rows: ten()[..1].to_vec(), ..Default::default() }
            .resume(&mut adapted, None, &mut Vec::new());
        let error = outcome.err().unwrap_or_else(|| panic!("{} passes", entry.name));
        assert_eq!(
            error.to_string(),
            "step 1: the loss is not finite, on rows rows.jsonl:1; there is no checkpoint before it; lower \
             learning_rate, or look at these rows",
            "{}",
            entry.name
        );
        assert!(heard.steps.is_empty());
        assert!(bits(&state(&adapted)) == before, "{}: the parameters stay", entry.name);
    }
}

/// Spoils a parameter once a checkpoint is written.
struct Spoiler(Parameters);

impl Observer for Spoiler {
    fn checkpoint(&mut self, _step: usize, _path: &Path) -> Result<()> {
        let nan = Tensor::new(&[f32::NAN], &Device::Cpu)?;
        Ok(self.0.state().slice_set(&nan, 0, self.0.entries()[1].offset)?)
    }
}

#[test]
fn the_last_good_checkpoint_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions { checkpoint_every: 2, ..options() };
    let run = Run { options, checkpoints: Some(folder.path()), ..Default::default() };
    let mut adapted = lora();
    let spoiler = Spoiler(adapted.parameters.clone());
    let (outcome, heard) = run.resume(&mut adapted, None, &mut vec![Box::new(spoiler)]);
    let error = outcome.unwrap_err();
    let Error::NonFinite { step, what, rows, good } = &error else { panic!("{error}") };
    let wanted = folder.path().join("step-000002");
    assert_eq!((*step, *what, good.as_ref()), (3, "loss", Some(&wanted)));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.starts_with("rows.jsonl:")));
    assert!(error.to_string().contains(&format!("the last good checkpoint is {}", wanted.display())));
    assert_eq!(heard.steps.len(), 2);
    assert_eq!(listing(folder.path()), ["step-000002"]);
    newest(folder.path()).restore(&adapted.parameters).unwrap();
    assert!(state(&adapted).iter().all(|x| x.is_finite()));
    // What was restored goes on, and says so if it fails again.
    let spoiler = Spoiler(adapted.parameters.clone());
    let (outcome, heard) =
        run.resume(&mut adapted, Some(&newest(folder.path())), &mut vec![Box::new(spoiler)]);
    assert_eq!(heard.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [3, 4]);
    assert!(outcome.unwrap_err().to_string().contains("step-000004"));
}

/// Throws a parameter out of range after the first step.
struct Spoil(Parameters);

impl Observer for Spoil {
    fn step(&mut self, _report: &tallow_train::StepReport, _total: usize) -> Result<()> {
        let nan = Tensor::new(&[f32::NAN], &Device::Cpu)?;
        Ok(self.0.state().slice_set(&nan, 0, self.0.entries()[1].offset)?)
    }
}

#[test]
fn a_parameter_out_of_range_is_neither_measured_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions { evaluate_every: 1, checkpoint_every: 1, steps: Some(3), ..options() };
    let checkpoints = Some(folder.path());
    let run = Run { options, validation: ten()[..2].to_vec(), checkpoints, ..Default::default() };
    let mut adapted = lora();
    let spoil = Spoil(adapted.parameters.clone());
    let (outcome, heard) = run.resume(&mut adapted, None, &mut vec![Box::new(spoil)]);
    let error = outcome.unwrap_err().to_string();
    assert!(error.starts_with("step 1: the update is not finite, on rows "), "{error}");
    assert!(heard.validations.is_empty() && heard.checkpoints.is_empty());
    assert!(!folder.path().join("step-000001").exists());
}

/// Makes weights so large that their product overflows, after the first step.
struct Overflow(Parameters);

impl Observer for Overflow {
    fn step(&mut self, _report: &tallow_train::StepReport, _total: usize) -> Result<()> {
        let entries = self.0.entries().iter();
        for entry in entries.filter(|entry| entry.name.contains("decoder.block.1.layer.2.DenseReluDense")) {
            let values = Tensor::full(3e16f32, entry.shape.iter().product::<usize>(), &Device::Cpu)?;
            self.0.state().slice_set(&values, 0, entry.offset)?;
        }
        Ok(())
    }
}

#[test]
fn a_validation_loss_that_is_not_finite_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions { evaluate_every: 1, ..options() };
    let checkpoints = Some(folder.path());
    let run = Run { options, validation: ten()[..2].to_vec(), checkpoints, ..Default::default() };
    let mut adapted = full();
    let overflow = Overflow(adapted.parameters.clone());
    let (outcome, heard) = run.resume(&mut adapted, None, &mut vec![Box::new(overflow)]);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "step 1: the validation loss is not finite; there is no checkpoint before it; lower learning_rate, or look \
         at the validation rows"
    );
    assert!(heard.validations.is_empty());
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn a_warm_up_leaves_steps_of_its_epochs() {
    let warm = |warmup_steps| {
        let options = TrainingOptions { steps: None, epochs: Some(1), warmup_steps, ..options() };
        Run { options, ..Default::default() }.resume(&mut lora(), None, &mut Vec::new()).0
    };
    assert!(warm(3).is_ok());
    let message = warm(4).unwrap_err().to_string();
    assert_eq!(message, "warmup_steps is 4, but the run has 4 steps: leave some after the warm-up");
}

#[test]
fn a_stop_waits_for_the_step_and_leaves_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        Run { options: options(), checkpoints: Some(folder.path()), stop_in: Some(2), ..Default::default() };
    let mut adapted = lora();
    let (outcome, heard) = run.train(&mut adapted);
    let Outcome::Stopped(progress) = outcome else { panic!("not stopped") };
    assert_eq!((progress.step, heard.steps.len()), (2, 2));
    assert_eq!(heard.checkpoints, [(2, folder.path().join("step-000002"))]);
    assert_eq!(newest(folder.path()).progress, progress);
    let restored = lora();
    newest(folder.path()).restore(&restored.parameters).unwrap();
    assert_eq!(bits(&state(&restored)), bits(&state(&adapted)));
}

#[test]
fn a_stop_in_the_last_step_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        Run { options: options(), checkpoints: Some(folder.path()), stop_in: Some(6), ..Default::default() };
    assert!(matches!(run.train(&mut lora()).0, Outcome::Finished(progress) if progress.step == 6));
    let nowhere = Run { checkpoints: None, stop_in: Some(1), ..run };
    let (outcome, heard) = nowhere.train(&mut lora());
    assert!(matches!(outcome, Outcome::Stopped(progress) if progress.step == 1));
    assert!(heard.checkpoints.is_empty());
}

#[test]
fn no_rows_are_an_error() {
    let run = Run { options: options(), rows: Vec::new(), ..Default::default() };
    let (outcome, _) = run.resume(&mut lora(), None, &mut Vec::new());
    assert_eq!(outcome.unwrap_err().to_string(), "no batches: there are no rows");
}
