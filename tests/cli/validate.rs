//! What is known of a run before it.

use serde_json::Value;

use crate::harness::Place;

#[test]
fn a_run_is_foreseen() {
    let place = Place::new();
    let shown = place.good("validate DIR/trial.toml");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "DIR/trial.toml: ready to train");
    for (line, start) in lines[1..].iter().zip([
        "rows        training: 12, tokens a row: ",
        "            validation: 4, tokens a row: ",
        "            test: 100, tokens a row: ",
        "method      LoRA of rank 4 on q, v: ",
        "training    6 steps, 2.00 epochs, ",
        "memory      about ",
        "time        about ",
    ]) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
    assert_eq!(lines.len(), 8);
    assert!(!place.path("runs").exists(), "nothing is written");

    let report: Value = serde_json::from_str(&place.good("validate DIR/trial.toml --json")).unwrap();
    assert_eq!(report["ready"], true);
    assert_eq!(report["findings"].as_array().unwrap().len(), 0);
    let plan = &report["training"];
    place.good("train DIR/trial.toml");
    // What was foreseen is what training did.
    let steps = place.json_lines("runs/trial/metrics.jsonl");
    let steps: Vec<&Value> = steps.iter().filter(|line| line.get("loss").is_some()).collect();
    assert_eq!(plan["steps"].as_u64(), Some(steps.len() as u64));
    let tokens: u64 = steps.iter().map(|line| line["tokens"].as_u64().unwrap()).sum();
    assert_eq!(plan["tokens"].as_u64(), Some(tokens));
    assert!(plan["seconds"].as_f64().unwrap() > 0.0 && plan["peak_bytes"].as_u64().unwrap() > 1_000_000);

    let again = place.good("validate DIR/trial.toml");
    assert!(again.starts_with("DIR/trial.toml: ready to train, 1 warning\n"), "{again}");
    assert!(again.contains("\n  warning: name: DIR/runs/trial exists: train needs --resume"), "{again}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let place = Place::new();
    place.write(
        "test.jsonl",
        "{\"dialogue\": \"A: Hi.\", \"summary1\": \"A greets.\"}\n{\"summary1\": \"B.\"}\n",
    );
    place.write("validation.jsonl", "{\"dialogue\": \"A: Hi.\", \"summary\": \"\"}\n");
    let edits = "task.0.test=DIR/test.jsonl task.0.references=[\"summary1\"] training.learning_rate=-1 \
                 evaluation.batch_size=0 device=metal";
    let outcome = place.run(&format!("validate DIR/trial.toml {edits}"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (2, ""));
    let said = &outcome.stdout;
    assert!(said.starts_with("DIR/trial.toml: not ready, 5 errors\n"), "{said}");
    for line in [
        "  error: `training.learning_rate=-1`: must",
        "  error: `evaluation.batch_size=0`: must be at least 1",
        "  error: device: this binary was built without Metal",
        "  error: task.0.validation: DIR/validation.jsonl:1: the target that template `dialogue-summary` makes",
        "  error: task.0.test: rows lack columns:",
        "    template `dialogue-summary` (prompt): column `dialogue` is missing in 1 of 2 rows, first at DIR/test.jsonl:2",
        "rows        training: 12,",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line}\n{said}");
    }

    let outcome =
        place.run("validate DIR/trial.toml --json method.target_modules=[\"query\"] training.warmup_steps=6");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((outcome.code, &report["ready"]), (2, &Value::from(false)));
    let findings: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|found| found["what"].as_str().unwrap()).collect();
    assert!(
        findings.iter().any(|what| what.contains("6 of 6 steps leave none after the warm-up")),
        "{findings:?}"
    );
    assert!(findings.iter().any(|what| what.contains("[\"query\"] match no layer")), "{findings:?}");
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let place = Place::new();
    let row = |dialogue: &str, summary: &str| {
        serde_json::json!({"dialogue": dialogue, "summary": summary}).to_string() + "\n"
    };
    let rows =
        [row("A: Hi.", "A\nB"), row("A: Bye.", &"A leaves. ".repeat(90)), row("A: Hi.", "A\nB")].concat();
    place.write("rows.jsonl", &rows);
    place.write("validation.jsonl", &row("A: Bye.", "A goes."));
    let said = place.good("validate DIR/trial.toml");
    assert!(said.starts_with("DIR/trial.toml: ready to train, 4 warnings\n"), "{said}");
    for line in [
        "  warning: task.0.max_target_tokens: training: the targets of 1 row (33.3%) are cut; the longest has ",
        "  warning: training: the vocabulary cannot write the targets of 2 rows (66.7%), the first DIR/rows.jsonl:1; lost: \
         line breaks in 2; task.0.newlines = \"targets\" keeps line breaks",
        "  warning: training: 1 row (33.3%) repeated, the first DIR/rows.jsonl:3, as DIR/rows.jsonl:1",
        "  warning: validation: the prompts of 1 row (100.0%) are trained on, the first DIR/validation.jsonl:1, as \
         DIR/rows.jsonl:2: figures over them say little",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line}\n{said}");
    }
    let kept = place.good("validate DIR/trial.toml task.0.newlines=targets");
    assert!(kept.starts_with("DIR/trial.toml: ready to train, 3 warnings\n"), "{kept}");
}
