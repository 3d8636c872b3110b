//! What a run leaves, and how it goes on.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Place;

const ADAPTER: &str = "runs/trial/adapter/adapter_model.safetensors";

#[test]
fn a_run_leaves_its_config_figures_and_adapter() {
    let place = Place::new();
    let table = place.good("train DIR/trial.toml");
    assert!(
        table.starts_with("F1 x 100          before (2)       after (2)       after (3)\nrouge1 "),
        "{table}"
    );

    let mut files: Vec<String> = place
        .snapshot("runs/trial")
        .into_keys()
        .map(|path| path.strip_prefix(place.path("runs/trial")).unwrap().display().to_string())
        .collect();
    files.retain(|file| !file.starts_with("checkpoints/best/") && !file.starts_with("events.out.tfevents."));
    assert_eq!(
        files,
        [
            "adapter/README.md",
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
            "config.toml",
            "evaluation.json",
            "metrics.jsonl",
            "predictions.jsonl",
            "predictions_before.jsonl",
            "report.html",
            "run.json"
        ]
    );

    let (steps, validations) = metrics(&place, "trial");
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    assert_eq!(validations, [6]);
    for line in place.json_lines("runs/trial/metrics.jsonl").iter().filter(|line| line.get("loss").is_some())
    {
        assert!(line["loss"].as_f64().unwrap() > 0.0 && line["seconds"].as_f64().unwrap() > 0.0, "{line}");
    }

    let evaluation = place.json("runs/trial/evaluation.json");
    assert_eq!(evaluation["before"]["rows"], 2);
    assert_eq!(evaluation["after_same_rows"]["rows"], 2);
    assert_eq!(evaluation["after"]["rows"], 3);
    let predictions = place.json_lines("runs/trial/predictions.jsonl");
    assert_eq!(predictions.len(), 3);
    assert_eq!(predictions[2]["row"], "data/quickstart/test.jsonl:3");
    assert_eq!(predictions[2]["references"].as_array().unwrap().len(), 3);

    let adapter = place.json("runs/trial/adapter/adapter_config.json");
    assert_eq!(
        (&adapter["peft_type"], &adapter["r"], &adapter["lora_alpha"]),
        (&"LORA".into(), &4.into(), &8.into())
    );
    assert_eq!(adapter["base_model_name_or_path"], "data/quickstart/base");
    assert!(
        place
            .read("runs/trial/adapter/README.md")
            .contains("LoRA of rank 4 on q, v: 18432 trained parameters")
    );

    // The config that a run leaves is the run.
    place.good("train DIR/runs/trial/config.toml name=again");
    let config = |name: &str| place.read(&format!("runs/{name}/config.toml"));
    assert_eq!(config("again"), config("trial").replace("name = \"trial\"", "name = \"again\""));
    assert_eq!(place.read_bytes("runs/again/adapter/adapter_model.safetensors"), place.read_bytes(ADAPTER));
}

#[test]
fn a_run_that_is_done_is_not_trained_again() {
    let place = Place::new();
    place.good("train DIR/trial.toml");
    let before = place.snapshot("runs");

    let outcome = place.run("train DIR/trial.toml --resume");
    assert!(outcome.stderr.ends_with("DIR/runs/trial/adapter is trained already\n"), "{}", outcome.stderr);
    outcome.good();
    assert_eq!(place.snapshot("runs/trial").keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(place.read_bytes(ADAPTER), before[&place.path(ADAPTER)]);
}

#[test]
fn a_run_that_is_interrupted_goes_on_as_if_it_had_not_been() {
    let place = Place::new();
    let long = "train DIR/trial.toml training.steps=80 training.evaluate_every=30";
    place.good(&format!("{long} name=whole"));

    let child = start(&place, long);
    wait(|| place.path("runs/trial/metrics.jsonl").exists() && metrics(&place, "trial").0.len() >= 3);
    interrupt(&child);
    let outcome = place.came_to(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.stderr);
    let done = *metrics(&place, "trial").0.last().unwrap();
    assert!((3..80).contains(&done), "{done}");
    assert!(place.path(&format!("runs/trial/checkpoints/step-{done:06}/state.safetensors")).is_file());
    assert!(!place.path("runs/trial/adapter").exists());
    assert!(place.read("runs/trial/report.html").contains(&format!("Stopped after step {done}")));
    let go_on =
        format!("stopped after step {done}; go on with: tallow train DIR/runs/trial/config.toml --resume\n");
    assert!(outcome.stderr.ends_with(&go_on), "{}", outcome.stderr);

    let outcome = place.run("train DIR/runs/trial/config.toml --resume");
    assert!(outcome.stderr.contains(&format!("resuming after step {done}\n")), "{}", outcome.stderr);
    outcome.good();
    assert_eq!(metrics(&place, "trial"), ((1..=80).collect(), vec![30, 60, 80]));
    let losses = |name: &str| -> Vec<Value> {
        let lines = place.json_lines(&format!("runs/{name}/metrics.jsonl"));
        lines
            .into_iter()
            .map(|mut line| {
                line.as_object_mut().unwrap().remove("seconds");
                line.as_object_mut().unwrap().remove("peak_memory");
                line
            })
            .collect()
    };
    for (resumed, whole) in losses("trial").iter().zip(&losses("whole")) {
        assert_eq!(resumed, whole);
    }
    assert_eq!(place.read_bytes(ADAPTER), place.read_bytes("runs/whole/adapter/adapter_model.safetensors"));
    for file in ["evaluation.json", "predictions.jsonl"] {
        assert_eq!(place.read(&format!("runs/trial/{file}")), place.read(&format!("runs/whole/{file}")));
    }
}

#[test]
fn a_run_that_is_interrupted_while_it_is_measured_is_not_trained_again() {
    let place = Place::new();
    let slow = "train DIR/trial.toml evaluation.rows=100 evaluation.generation.max_new_tokens=200 \
                evaluation.generation.min_new_tokens=200";
    let child = start(&place, slow);
    wait(|| place.path("runs/trial/report.html").exists());
    interrupt(&child);
    let stopped = place.came_to(&child.wait_with_output().unwrap());
    let words = "; go on with: tallow train DIR/runs/trial/config.toml --resume\n";
    assert!(stopped.code == 130 && stopped.stderr.ends_with(words), "{stopped:?}");
    assert_eq!(place.json("runs/trial/evaluation.json")["after"], Value::Null);
    assert!(place.read("runs/trial/report.html").contains("Trained, not measured yet"));
    let before = place.read_bytes(ADAPTER);

    let resumed = place.run("train DIR/runs/trial/config.toml --resume");
    assert!(resumed.stderr.ends_with("DIR/runs/trial/adapter is trained already\n"), "{}", resumed.stderr);
    resumed.good();
    assert_eq!(place.json("runs/trial/evaluation.json")["after"]["rows"], 100);
    assert_eq!(metrics(&place, "trial").0, [1, 2, 3, 4, 5, 6]);
    assert_eq!(place.read_bytes(ADAPTER), before);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run() {
    let place = Place::new();
    place.write("rows.jsonl", &crate::harness::lines("data/quickstart/train.jsonl", 2));
    let wild = "train DIR/trial.toml threads=1 training.batch_size=1 training.bucket_batches=0 evaluation.before_rows=0 \
                method.target_modules=all-linear training.learning_rate=1e30 training.schedule=constant";
    let rows = |outcome: &crate::harness::Outcome| {
        let (_, rows) = outcome.error().split_once("on rows ").unwrap();
        rows.split_once(';').unwrap().0.to_owned()
    };
    let outcome = place.run(&format!("{wild} training.checkpoint_every=1"));
    let row = rows(&outcome);
    assert!(["DIR/rows.jsonl:1", "DIR/rows.jsonl:2"].contains(&row.as_str()), "{row}");
    outcome.bad(
        1,
        &format!(
            "step 1: the update is not finite, on rows {row}; there is no checkpoint before it; \
             lower learning_rate, or look at these rows"
        ),
    );
    assert!(!place.path("runs/trial/checkpoints").exists());
    assert!(!place.path("runs/trial/adapter").exists());
    assert_eq!(metrics(&place, "trial").0, [1]);

    let outcome = place.run(&format!("{wild} name=other"));
    let row = rows(&outcome);
    outcome.bad(
        1,
        &format!(
            "step 2: the loss is not finite, on rows {row}; there is no checkpoint before it; lower learning_rate, \
             or look at these rows"
        ),
    );
}

#[test]
fn full_fine_tuning_leaves_a_model() {
    let place = Place::new();
    place.good("train DIR/trial.toml method={kind=\"full\"}");
    assert!(!place.path("runs/trial/adapter").exists());
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        assert!(place.path(&format!("runs/trial/model/{file}")).is_file(), "{file}");
    }
    let prompt = ["Summarize the following conversation.\n\nAnn: Hello, Bob!\n\nSummary:"];
    let prompt = ["--max-new-tokens", "6", "--prompt", prompt[0]];
    let by_folder = place.run_with("generate --model DIR/runs/trial/model", &prompt).good();
    assert_eq!(place.run_with("generate --run DIR/runs/trial", &prompt).good(), by_folder);
    let json: Value =
        serde_json::from_str(&place.good("evaluate DIR/runs/trial/config.toml --json")).unwrap();
    assert_eq!(json, place.json("runs/trial/evaluation.json")["after"]);
}

impl Place {
    fn read_bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

/// The steps of a run's metrics: those of the training, and those of the validation.
fn metrics(place: &Place, run: &str) -> (Vec<u64>, Vec<u64>) {
    let text = place.read(&format!("runs/{run}/metrics.jsonl"));
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (validations, steps): (Vec<Value>, Vec<Value>) =
        lines.partition(|line| line.get("validation_loss").is_some());
    let numbers = |lines: Vec<Value>| lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    (numbers(steps), numbers(validations))
}

fn start(place: &Place, line: &str) -> Child {
    place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait(until: impl Fn() -> bool) {
    let begin = Instant::now();
    while !until() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it did not come to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What Ctrl-C sends.
fn interrupt(child: &Child) {
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn candles_own_operations_train_too() {
    let place = Place::new();
    let said =
        place.run("train DIR/trial.toml device=cpu kernels=composed threads=2 training.batch_tokens=auto");
    assert!(said.code == 0 && said.stderr.contains("batches of at most 4096 tokens"), "{said:?}");
    assert!(said.stderr.contains("candle's operations on 2 threads"), "{said:?}");
    assert!(place.path("runs/trial/adapter/adapter_model.safetensors").is_file());
}
