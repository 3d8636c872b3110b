//! The binary on a CUDA device: a GPU, or the emulated one of `tests/emulator`. Without one, nothing is tested here, and
//! the tests say so.
#![cfg(feature = "cuda")]

#[path = "cli/harness.rs"]
#[expect(dead_code, reason = "the tests of the CPU use all of it")]
mod harness;

use std::process::Command;

use harness::{BASE, Outcome, Place, TINY, TINY_LORA};

/// A place for one test, if there is a device; where $TALLOW_CUDA_REQUIRED is set there has to be one.
fn place() -> Option<Place> {
    if tallow_ops::Cuda::count().unwrap() > 0 {
        return Some(Place::new());
    }
    assert!(std::env::var_os("TALLOW_CUDA_REQUIRED").is_none(), "there is no CUDA device");
    println!("no CUDA device: skipped");
    None
}

/// The binary, with what it remembers of a machine in the test's own folder.
fn command(place: &Place, line: &str) -> Command {
    let mut command = place.command(line);
    command.env("TALLOW_CACHE", place.path("cache"));
    command
}

fn run(place: &Place, line: &str) -> Outcome {
    place.outcome(command(place, line))
}

/// The losses of each step of a run.
fn losses(place: &Place, run: &str) -> Vec<f64> {
    let lines = place.json_lines(&format!("runs/{run}/metrics.jsonl"));
    lines
        .iter()
        .filter(|line| line.get("learning_rate").is_some())
        .map(|line| line["loss"].as_f64().unwrap())
        .collect()
}

/// Hundreds of rows.
const TRAIN_ROWS: &str = "data/quickstart/train.jsonl";
const PLAIN: &str = "method.dropout=0 training.dropout=0 evaluation.before_rows=0 evaluation.rows=1";

#[test]
fn a_run_trains_as_on_the_cpu() {
    let Some(place) = place() else { return };
    run(&place, &format!("train DIR/trial.toml name=cpu device=cpu {PLAIN}")).good();
    let wanted = losses(&place, "cpu");
    assert_eq!(wanted.len(), 6);
    let runs = [
        ("f32", "all", 1e-4, "f32"),
        ("f32", "composed", 1e-4, "composed kernels in f32"),
        ("bf16", "all", 2e-2, "bf16"),
        ("bf16", "verified", 2e-2, "bf16"),
    ];
    for (dtype, kernels, tolerance, says) in runs {
        let name = format!("{dtype}-{kernels}");
        let line =
            format!("train DIR/trial.toml name={name} device=cuda:0 dtype={dtype} kernels={kernels} {PLAIN}");
        let outcome = run(&place, &line);
        assert!(outcome.code == 0 && outcome.stderr.contains(says), "{outcome:?}");
        for (step, (found, wanted)) in losses(&place, &name).iter().zip(&wanted).enumerate() {
            assert!((found / wanted - 1.0).abs() < tolerance, "{name}, step {step}: {found} for {wanted}");
        }
    }
}

#[test]
fn every_weight_is_trained_and_a_run_goes_on() {
    let Some(place) = place() else { return };
    let whole = "method={kind=\"full\"} device=cuda:0 kernels=all training.learning_rate=1e-3";
    let brief = "evaluation.before_rows=0 evaluation.rows=1 training.checkpoint_every=3";
    let line = format!("train DIR/trial.toml name=whole {whole} {brief}");
    run(&place, &line).good();
    let wanted = losses(&place, "whole");
    assert!(wanted[5] < wanted[0], "{wanted:?}");
    // What a run that was killed after its checkpoint leaves.
    let metrics = place.read("runs/whole/metrics.jsonl");
    for gone in ["model", "checkpoints/best"] {
        std::fs::remove_dir_all(place.path("runs/whole").join(gone)).unwrap();
    }
    run(&place, "train DIR/runs/whole/config.toml --resume").good();
    assert_eq!(losses(&place, "whole"), wanted, "before: {metrics}");
}

#[test]
fn answers_are_those_of_the_cpu() {
    let Some(place) = place() else { return };
    place.write("prompts.txt", "Summarize: Anna: Hi! Tom: Hello Anna, are you there?\nSummarize: Tom: No.\n");
    let lines = format!("generate --model {BASE} --file DIR/prompts.txt --lines --max-new-tokens 12");
    let wanted = run(&place, &format!("{lines} --device cpu")).good();
    assert_eq!(wanted.lines().count(), 2);
    for kernels in ["all", "composed"] {
        let found = run(&place, &format!("{lines} --device cuda --dtype f32 --kernels {kernels}")).good();
        assert_eq!(found, wanted, "{kernels}");
    }
}

#[test]
fn a_trace_counts_launches() {
    let Some(place) = place() else { return };
    place.write("batches.jsonl", "{\"source\": [[5, 6, 7, 1], [9, 1]], \"target\": [[8, 1], [4, 5, 1]]}\n");
    let bench = format!("bench {TINY} DIR/batches.jsonl --adapter {TINY_LORA} --steps 2 --warmup 1 --trace");
    let outcome = run(&place, &format!("{bench} --device cuda:0 --kernels all"));
    let table = outcome.stderr.clone();
    let result: serde_json::Value = serde_json::from_str(&outcome.good()).unwrap();
    assert_eq!(result["dtype"], "bfloat16");
    assert!(result["peak_memory_mb"].is_u64() && result["losses"].as_array().unwrap().len() == 3);
    let launches = |operation: &str| -> u64 {
        let line = table.lines().find(|line| line.starts_with("forward") && line.contains(operation));
        line.unwrap_or_else(|| panic!("{table}")).split_whitespace().nth(3).unwrap().parse().unwrap()
    };
    assert!(launches("attention") > 0 && launches("rms_norm") > 0, "{table}");
}

#[test]
fn the_first_use_is_checked_and_remembered() {
    let Some(place) = place() else { return };
    let train = |name: &str| {
        run(&place, &format!("train DIR/trial.toml name={name} device=cuda:0 kernels=all {PLAIN}"))
    };
    let first = train("first");
    assert!(first.code == 0 && !first.stderr.contains("warning"), "{first:?}");
    let found = place.json("cache/kernels.json");
    assert_eq!(found["disagreeing"].as_array().map(Vec::len), Some(0), "{found}");
    // What is remembered is believed.
    place.edit("cache/kernels.json", "\"disagreeing\":[]", "\"disagreeing\":[\"relu\",\"gated_gelu\"]");
    let second = train("second");
    let says = |operation: &str| {
        format!("warning: the {operation} kernels do not agree with candle's on this GPU and are not used")
    };
    assert!(
        second.stderr.contains(&says("relu")) && second.stderr.contains(&says("gated_gelu")),
        "{second:?}"
    );
    assert!(second.stderr.contains("own kernels for adamw, attention"), "{second:?}");
    // Another program is checked anew.
    place.edit("cache/kernels.json", "\"binary\":\"", "\"binary\":\"another ");
    assert!(!train("third").stderr.contains("warning"));
}

/// Only where the device's memory can be set: on the emulated one.
#[test]
fn memory_that_is_not_enough_is_explained_and_looked_for() {
    let Some(place) = place() else { return };
    let start = format!("train DIR/trial.toml device=cuda:0 kernels=all {PLAIN}");
    let train = |more: &str, megabytes: &str| {
        let mut command = command(&place, &format!("{start} {more}"));
        command.env("EMULATOR_MEMORY_MB", megabytes);
        place.outcome(command)
    };
    let outcome = train("name=small training.batch_size=12 task.0.max_source_tokens=100", "8");
    if !outcome.stderr.contains("Emulated GPU") {
        println!("the device's memory cannot be set: skipped");
        return;
    }
    let error = outcome.error();
    assert!(error.contains("out of memory on Emulated GPU (CPU)"), "{error}");
    let advice = "Lower training.batch_size or batch_tokens (and raise accumulation), or cut longer rows";
    assert!(
        outcome.code == 1 && error.contains(advice) && error.contains("a step over 12 rows of "),
        "{error}"
    );

    let tokens = |megabytes: &str| -> usize {
        let auto = "training={steps=1,batch_tokens=\"auto\"}";
        let outcome = train(&format!("name=auto-{megabytes} {auto}"), megabytes);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let said = outcome.stderr.split("batches of at most ").nth(1).expect("the number is said");
        said.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (few, many) = (tokens("10"), tokens("400"));
    assert!(few < many, "{few} {many}");

    // Validation takes larger batches than there is room for, and then smaller ones.
    let validation = format!("task.0.validation={}", TRAIN_ROWS);
    let outcome = train(&format!("name=validated training={{steps=1,batch_size=1}} {validation}"), "12");
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

/// The CUDA libraries are opened at the first call, so that one binary runs everywhere.
#[test]
fn without_a_device_it_says_so() {
    let place = Place::new();
    let run = |line: &str| {
        let mut command = command(&place, line);
        command.env("CUDA_SHIM_NONE", "1").env("CUDA_VISIBLE_DEVICES", "");
        place.outcome(command)
    };
    let outcome = run("train DIR/trial.toml device=cuda:0");
    outcome.bad(1, "device = \"cuda:0\": no CUDA device was found; give device = \"cpu\"");
    let outcome = run(&format!("train DIR/trial.toml {PLAIN} training.steps=1"));
    assert!(
        outcome.code == 0 && outcome.stderr.contains("no CUDA device: computing on the CPU"),
        "{outcome:?}"
    );
}
