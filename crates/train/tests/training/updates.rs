use tallow_peft::Adapted;
use tallow_train::{StepReport, TrainingOptions};

use crate::support::{Run, bits, distance, full, lora, rows, ten, thirds};

fn options() -> TrainingOptions {
    TrainingOptions { steps: Some(1), batch_size: Some(10), ..Run::default().options }
}

fn step(mut adapted: Adapted, options: TrainingOptions) -> (StepReport, [Vec<f32>; 3]) {
    let (_, heard) = Run { options, ..Default::default() }.train(&mut adapted);
    (heard.steps[0].clone(), thirds(&adapted))
}

#[test]
fn clipping_is_torchs() {
    let clipped = |most| step(lora(), TrainingOptions { max_grad_norm: most, ..options() });
    let (whole, [_, m, v]) = clipped(0.0);
    let gradient: Vec<f32> = m.iter().map(|m| m / 0.1).collect();
    let norm = gradient.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    assert!((norm - whole.grad_norm).abs() < 1e-5 * norm, "the report's norm is the mean gradient's");
    for most in [0.5 * norm, 0.01 * norm, 0.999 * norm] {
        let (report, [_, found_m, found_v]) = clipped(most);
        assert_eq!(report.grad_norm, whole.grad_norm, "before clipping");
        let factor = most / (norm + 1e-6);
        let scaled = |x: &[f32], by: f64| x.iter().map(|&x| (f64::from(x) * by) as f32).collect::<Vec<_>>();
        assert!(distance(&found_m, &scaled(&m, factor)) < 1e-5, "most {most}");
        assert!(distance(&found_v, &scaled(&v, factor * factor)) < 1e-5, "most {most}");
    }
    let (_, [_, found_m, _]) = clipped(1.5 * norm);
    assert_eq!(bits(&found_m), bits(&m), "a norm below the limit stays");
}

#[test]
fn weight_decay_is_decoupled() {
    let decayed =
        |weight_decay| step(full(), TrainingOptions { weight_decay, learning_rate: 0.01, ..options() });
    let ((_, [p, m, v]), (_, [found_p, found_m, found_v])) = (decayed(0.0), decayed(0.3));
    assert!(bits(&m) == bits(&found_m) && bits(&v) == bits(&found_v), "moments see no decay");
    let before = thirds(&full())[0].clone();
    let wanted: Vec<f32> = before.iter().map(|x| 0.01 * 0.3 * x).collect();
    let taken: Vec<f32> = p.iter().zip(&found_p).map(|(p, found)| p - found).collect();
    assert!(distance(&taken, &wanted) < 1e-3, "{}", distance(&taken, &wanted));
}

#[test]
fn a_first_step_moves_by_the_rate() {
    // Of AdamW's first step: every value with a gradient moves by the learning rate.
    let (report, [p, m, _]) = step(full(), TrainingOptions { learning_rate: 1e-3, ..options() });
    assert_eq!(report.learning_rate, 1e-3);
    let before = thirds(&full())[0].clone();
    let mut moved = 0;
    for ((before, after), m) in before.iter().zip(&p).zip(&m) {
        if m.abs() > 1e-5 {
            moved += 1;
            let by = before - after;
            assert!((by - m.signum() * 1e-3).abs() < 1e-5, "{before} moves by {by}, m {m}");
        }
    }
    assert!(moved > 1000, "{moved}");
}

#[test]
fn a_warm_up_starts_from_zero() {
    let run = |stop_in| {
        let options = TrainingOptions { warmup_steps: 2, steps: Some(4), learning_rate: 0.01, ..options() };
        let mut adapted = lora();
        let (_, heard) = Run { options, stop_in, ..Default::default() }.train(&mut adapted);
        (heard.steps.iter().map(|step| step.learning_rate).collect::<Vec<_>>(), thirds(&adapted))
    };
    let (rates, _) = run(None);
    assert_eq!(rates, [0.0, 0.005, 0.01, 0.005]);
    let (_, [p, m, _]) = run(Some(1));
    assert_eq!(bits(&p), bits(&thirds(&lora())[0]));
    assert!(m.iter().any(|&m| m != 0.0), "the moments gather");
}

#[test]
fn label_smoothing_is_for_training_alone() {
    let run = |label_smoothing| {
        // The first step has a rate of 0.
        let steps = Some(2);
        let options =
            TrainingOptions { label_smoothing, warmup_steps: 1, evaluate_every: 1, steps, ..options() };
        let run = Run { options, validation: rows(&[(12, 7), (5, 3)]), ..Default::default() };
        let (_, heard) = run.train(&mut lora());
        (heard.steps[0].loss, heard.validations[0].1)
    };
    let (plain, smoothed) = (run(0.0), run(0.3));
    assert_eq!(plain.1, smoothed.1);
    assert!((plain.0 - smoothed.0).abs() > 1e-3, "{plain:?} {smoothed:?}");
}

#[test]
fn reports_count_tokens_and_epochs() {
    let options =
        TrainingOptions { steps: None, epochs: Some(2), batch_size: Some(4), accumulation: 2, ..options() };
    let (_, heard) = Run { options, ..Default::default() }.train(&mut lora());
    // Six batches of 4, 4, 2 rows: the second step reaches into the second epoch.
    let found: Vec<(usize, usize)> = heard.steps.iter().map(|step| (step.step, step.epoch)).collect();
    assert_eq!(found, [(1, 0), (2, 1), (3, 1)]);
    let tokens: usize = ten().iter().map(|row| row.source.len() + row.target.len()).sum();
    assert_eq!(heard.steps.iter().map(|step| step.tokens).sum::<usize>(), 2 * tokens);
}

#[test]
fn an_epoch_is_each_row_once() {
    // Five batches, two to a step: the last step has one.
    let options =
        TrainingOptions { steps: None, epochs: Some(1), batch_size: Some(2), accumulation: 2, ..options() };
    let (_, heard) = Run { options, ..Default::default() }.train(&mut lora());
    assert_eq!(heard.steps.iter().map(|step| step.epoch).collect::<Vec<_>>(), [0, 0, 0]);
    let tokens: usize = ten().iter().map(|row| row.source.len() + row.target.len()).sum();
    assert_eq!(heard.steps.iter().map(|step| step.tokens).sum::<usize>(), tokens);
}
