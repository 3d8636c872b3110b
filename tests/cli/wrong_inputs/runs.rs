use insta::assert_snapshot;

use super::wrong;
use crate::harness::Place;

#[test]
fn runs_that_are_not_there() {
    let place = Place::new();
    assert_snapshot!(wrong(&place, "train DIR/trial.toml --resume"), @"1: error: DIR/runs/trial holds no run to resume: leave out --resume to start one");
    assert_snapshot!(wrong(&place, "evaluate DIR/trial.toml"), @"1: error: DIR/runs/trial/adapter is not there: train first, or give --adapter DIR or --base");
    assert_snapshot!(wrong(&place, "generate --run DIR/runs/trial --prompt Hi"), @"2: error: DIR/runs/trial holds no run: there is no DIR/runs/trial/config.toml");
    place.write("runs/other/notes.txt", "mine");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml name=other"), @"1: error: DIR/runs/other exists and is not a run's folder: give name=OTHER or output=OTHER, or remove it");
}

#[test]
fn runs_that_are_there() {
    let place = Place::new();
    place.good("train DIR/trial.toml training.checkpoint_every=3 evaluation.before_rows=0 evaluation.rows=1");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml"), @"1: error: DIR/runs/trial exists: use --resume to go on with it, name=OTHER for a new run, or remove it");
    let line =
        "train DIR/trial.toml --resume training.learning_rate=1e-4 method.rank=2 training.batch_tokens=64";
    assert_snapshot!(wrong(&place, line), @"1: error: the run to resume was started with other settings, see DIR/runs/trial/config.toml: evaluation.before_rows, evaluation.rows, method.rank, training.batch_size, training.batch_tokens, training.checkpoint_every, training.learning_rate; to go on as it was started: train DIR/runs/trial/config.toml --resume");
    assert_snapshot!(
        wrong(&place, "evaluate DIR/trial.toml seed=4 task.0.max_source_tokens=100 training.steps=9"),
        @"1: error: the run was trained with other settings, see DIR/runs/trial/config.toml: seed, task; measure it as it was trained (evaluate DIR/runs/trial/config.toml), or give its adapter by --adapter DIR"
    );
    // Their model is gone.
    place.edit("runs/trial/config.toml", "data/quickstart/base", "DIR/moved");
    assert_snapshot!(wrong(&place, "generate --run DIR/runs/trial --prompt Hi"), @"
    2: error: DIR/runs/trial/config.toml: 1 problem
      DIR/runs/trial/config.toml:12: model.path: DIR/moved: no such folder; a model is one with config.json, model.safetensors and tokenizer.json
    ");
}

#[test]
fn checkpoints_that_are_broken() {
    let place = Place::new();
    place.good("train DIR/trial.toml training.checkpoint_every=3 evaluation.before_rows=0 evaluation.rows=1");
    std::fs::remove_dir_all(place.path("runs/trial/adapter")).unwrap();
    let resume = || wrong(&place, "train DIR/runs/trial --resume");
    let state = place.path("runs/trial/checkpoints/step-000003/state.safetensors");
    let whole = std::fs::read(&state).unwrap();
    std::fs::write(&state, &whole[..whole.len() / 2]).unwrap();
    assert_snapshot!(resume(), @"1: error: DIR/runs/trial/checkpoints/step-000003/state.safetensors: the file is cut short or not safetensors: fetch or write it again; remove this checkpoint's folder to resume from the one before it");
    std::fs::remove_file(&state).unwrap();
    assert_snapshot!(resume(), @"1: error: DIR/runs/trial/checkpoints/step-000003/state.safetensors: no such file or folder; remove this checkpoint's folder to resume from the one before it");
    std::fs::write(&state, &whole).unwrap();
    let parameters = "runs/trial/checkpoints/step-000003/parameters.json";
    place.edit(parameters, "[4,128]", "[8,64]");
    assert_snapshot!(resume(), @"1: error: DIR/runs/trial/checkpoints/step-000003: holds other parameters than this run trains: base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight [8, 64] where it has base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight [4, 128]");
    place.edit(parameters, "[8,64]", "[4,128]");
    let file = "runs/trial/checkpoints/step-000003/progress.json";
    let progress = place.read(file);
    place.write(file, "{\"step\": 3");
    assert_snapshot!(resume(), @"1: error: DIR/runs/trial/checkpoints/step-000003/progress.json: EOF while parsing an object at line 1 column 10; remove this checkpoint's folder to resume from the one before it");
    place.write(file, &progress);
    place.write("runs/trial/evaluation.json", "{");
    assert_snapshot!(resume(), @"1: error: DIR/runs/trial/evaluation.json: broken: remove it to measure anew: EOF while parsing an object at line 1 column 1");
    place.write("runs/trial/config.toml", "name = \"trial\"");
    assert_snapshot!(resume(), @"
    2: error: DIR/runs/trial/config.toml: 3 problems
      DIR/runs/trial/config.toml: model: is missing
      DIR/runs/trial/config.toml: task: is missing
      DIR/runs/trial/config.toml: training.steps: neither steps nor epochs is given
    ");
}

#[test]
fn runs_that_fail_before_their_first_step() {
    let place = Place::new();
    let line = "train DIR/trial.toml training={epochs=1,batch_size=4,warmup_steps=100}";
    // The second finds nothing of the first.
    let said = [wrong(&place, line), wrong(&place, line)];
    assert_eq!(said[0], said[1]);
    assert_snapshot!(said[0], @"1: error: warmup_steps is 100, but the run has 3 steps: leave some after the warm-up");
}

#[test]
fn exports_that_cannot_be() {
    let place = Place::new();
    place.good("train DIR/trial.toml method={kind=\"full\"} evaluation.before_rows=0 evaluation.rows=1");
    assert_snapshot!(wrong(&place, "export --run DIR/runs/trial DIR/out"), @"1: error: DIR/runs/trial is a full fine-tuning: DIR/runs/trial/model is the model already");
    assert_snapshot!(wrong(&place, "export --run DIR/runs/trial DIR/runs"), @"1: error: DIR/runs exists: name another folder, or remove it");
}
