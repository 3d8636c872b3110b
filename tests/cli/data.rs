//! What a config makes of its rows, and the files that they come from.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::Place;

#[test]
fn rows_are_shown_as_the_model_gets_them() {
    let place = Place::new();
    place.write(
        "rows.jsonl",
        "{\"dialogue\": \"Dan: Hi.\\nWendy: Fine, thanks.\", \"summary\": \"Dan says hi.\"}\n\
         {\"dialogue\": \"Dan: Bye.\", \"summary\": \"Dan leaves.\"}\n",
    );
    let shown = place.good("data preview DIR/trial.toml --rows 1 task.0.max_source_tokens=9");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "DIR/rows.jsonl:1  (template dialogue-summary)");
    assert!(lines[1].starts_with("prompt, 9 tokens, ") && lines[1].ends_with(" more are cut"), "{shown}");
    let prompt =
        ["Summarize the following conversation.", "", "Dan: Hi.", "Wendy: Fine, thanks.", "", "Summary:"];
    assert_eq!(lines[2..8], prompt.map(|line| format!("  | {line}")));
    assert!(lines[8].starts_with("  = \u{2581}S") && lines[8].ends_with(" </s>"), "{shown}");
    assert!(lines[9].starts_with("target, ") && lines[10] == "  | Dan says hi.", "{shown}");
    assert_eq!(lines.len(), 12);

    let rows = place.good("data preview DIR/trial.toml --json");
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1]["target"]["text"], "Dan leaves.");
    let tokens = rows[1]["target"]["tokens"].as_array().unwrap();
    let text: String = tokens.iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(text, "\u{2581}Dan\u{2581}leaves.</s>");

    let test: Value =
        serde_json::from_str(&place.good("data preview DIR/trial.toml --part test --rows 1 --json")).unwrap();
    assert_eq!(test["references"].as_array().unwrap().len(), 3);
    let validation = place.real("validation = \"DIR/validation.jsonl\"\n");
    place.edit("trial.toml", &validation, "");
    let preview = "data preview DIR/trial.toml --part validation";
    place.bad(preview, 1, "the task `dialogue-summary` has no validation rows");
}

#[test]
fn what_is_lost_of_rows_is_counted() {
    let place = Place::new();
    let row = |dialogue: &str, summary: &str| json!({"dialogue": dialogue, "summary": summary}).to_string();
    let rows = [
        row("Dan: Hi.", "Dan says hi."),
        row("Dan: Bye.", &"Dan leaves. ".repeat(9)),
        row("Dan: Hi.", "Dan says hi."),
        row("Dan: No.", "Dan says:\nno."),
    ];
    place.write("rows.jsonl", &rows.join("\n"));
    // The second has another target than the row it repeats.
    place.write("validation.jsonl", &[row("Dan: Bye.", "Dan leaves."), row("A: B", "C")].join("\n"));
    let command = "data stats DIR/trial.toml task.0.max_target_tokens=12";
    let stats: Vec<Value> = serde_json::from_str(&place.good(&format!("{command} --json"))).unwrap();
    let names: Vec<&str> = stats.iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["training", "validation", "test"]);
    let training = &stats[0];
    assert_eq!(training["rows"], 4);
    assert_eq!(training["templates"], json!({"dialogue-summary": 4}));
    let repeated = json!({"rows": 1, "first": ["DIR/rows.jsonl:3", "DIR/rows.jsonl:1"]});
    assert_eq!(training["repeated"], repeated);
    let changed = json!({"rows": 1, "first": "DIR/rows.jsonl:4", "lost": {"line breaks": 1}});
    assert_eq!(training["targets_changed"], changed);
    let targets = &training["targets"];
    let bars = targets["histogram"].as_array().unwrap();
    assert_eq!(bars.iter().map(|bar| bar[2].as_u64().unwrap()).sum::<u64>(), 4);
    assert!(bars.last().unwrap()[0].as_u64() <= targets["longest"].as_u64());
    assert!(targets["rows_cut"].as_u64() >= Some(1) && targets["limit"] == 12, "{targets}");
    let known = json!({"rows": 1, "first": ["DIR/validation.jsonl:1", "DIR/rows.jsonl:2"]});
    assert_eq!(stats[1]["in_training"], known);
    assert_eq!(stats[2]["in_training"], json!({"rows": 0}));

    let shown = place.good(command);
    for line in [
        "training: 4 rows",
        "  templates: dialogue-summary 4 rows (100.0%)",
        "  targets that the vocabulary changes: 1 row (25.0%), the first DIR/rows.jsonl:4; lost: line breaks in 1",
        "  repeated: 1 row (25.0%), the first DIR/rows.jsonl:3, as DIR/rows.jsonl:1",
        "  prompts that are in training too: 1 row (50.0%), the first DIR/validation.jsonl:1, as DIR/rows.jsonl:2",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
}

#[test]
fn rows_are_the_same_from_any_file() {
    let place = Place::new();
    let rows = place.json_lines("rows.jsonl");
    let (first, second) = rows.split_at(5);
    let lines = |rows: &[Value]| {
        rows.iter()
            .map(|row| json!({"text": row["dialogue"], "gist": row["summary"]}).to_string() + "\n")
            .collect::<String>()
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines(first).as_bytes()).unwrap();
    std::fs::write(place.path("part-1.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    place.write(
        "part-2.json",
        &json!(
            second
                .iter()
                .map(|row| json!({"text": row["dialogue"], "gist": row["summary"]}))
                .collect::<Vec<_>>()
        )
        .to_string(),
    );
    place.good("train DIR/trial.toml");
    place.good(
        "train DIR/trial.toml name=parts task.0.train=DIR/part-*.js* task.0.columns={dialogue=\"text\",summary=\"gist\"} \
         task.0.validation_fraction=0.5",
    );
    place.good("train DIR/trial.toml name=plain task.0.validation_fraction=0.5");
    let adapter = |name: &str| {
        std::fs::read(place.path(&format!("runs/{name}/adapter/adapter_model.safetensors"))).unwrap()
    };
    assert_eq!(adapter("parts"), adapter("plain"));
    assert_ne!(adapter("trial"), adapter("plain"));
}

#[test]
fn line_breaks_can_be_kept() {
    let place = Place::new();
    let rows = "{\"dialogue\": \"A: Hi.\\nB: Bye.\", \"summary\": \"A greets.\\nB goes.\"}\n".repeat(4);
    place.write("rows.jsonl", &rows);
    let tokens = |newlines: &str, side: &str| {
        let command = format!("data preview DIR/trial.toml --rows 1 --json task.0.newlines={newlines}");
        let row: Value = serde_json::from_str(&place.good(&command)).unwrap();
        let tokens = row[side]["tokens"].as_array().unwrap().clone();
        tokens.iter().filter(|token| *token == "<extra_id_0>").count()
    };
    assert_eq!([tokens("blank", "prompt"), tokens("blank", "target")], [0, 0]);
    assert_eq!([tokens("targets", "prompt"), tokens("targets", "target")], [0, 1]);
    // Of the prompt five: two behind its first line, one in the dialogue, two before its last.
    assert_eq!([tokens("both", "prompt"), tokens("both", "target")], [5, 1]);

    // Trained to write one, it does; the same text has a blank there where it is not asked to be kept.
    place.good(
        "train DIR/trial.toml task.0.newlines=targets training.steps=60 training.learning_rate=0.003 training.dropout=0 \
         method={kind=\"full\"} evaluation.before_rows=0",
    );
    let file = place.real("DIR/one.jsonl");
    std::fs::write(&file, "{\"dialogue\": \"A: Hi.\\nB: Bye.\"}").unwrap();
    let text = place.good("generate --run DIR/runs/trial --file DIR/one.jsonl --max-new-tokens 30");
    assert_eq!(text, "A greets.\nB goes.\n");
    let line: Value = serde_json::from_str(
        &place.good("generate --run DIR/runs/trial --file DIR/one.jsonl --max-new-tokens 30 --json"),
    )
    .unwrap();
    assert_eq!(line["prediction"], "A greets.\nB goes.");
    assert!(line["prompt"].as_str().unwrap().starts_with("Summarize"));
    let text =
        place.good("generate --run DIR/runs/trial --file DIR/one.jsonl --max-new-tokens 30 --newlines blank");
    assert_eq!(text, "A greets. B goes.\n");
}
