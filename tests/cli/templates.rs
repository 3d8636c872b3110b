//! The template sets that come along on their sample rows, and sets from files.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{BASE, Place, root};

fn templates(place: &Place, overrides: &str) -> BTreeSet<String> {
    let rows = place.good(&format!("data preview DIR/trial.toml --rows 12 --json {overrides}"));
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| row["template"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_config_of_a_task_shows_its_rows() {
    let place = Place::new();
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("configs/tasks")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rows = place.good(&format!("data preview configs/tasks/{name}.toml --json model.path={BASE}"));
        let first: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        assert!(first["template"].as_str().unwrap().starts_with(&format!("{name}/")), "{first}");
        assert!(!first["prompt"]["text"].as_str().unwrap().is_empty());
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn a_task_of_the_sample_rows_is_trained() {
    let place = Place::new();
    place.good(&format!(
        "train configs/tasks/sentiment.toml output=DIR/runs model.path={BASE} training.steps=2 threads=2 \
         evaluation.before_rows=2 evaluation.rows=2 evaluation.generation.max_new_tokens=3"
    ));
    assert!(place.path("runs/sentiment/adapter/adapter_model.safetensors").exists());
    let said = place.json_lines("runs/sentiment/predictions.jsonl");
    assert_eq!(said.len(), 2);
}

#[test]
fn templates_come_from_files_and_by_name() {
    let place = Place::new();
    let entry = |name: &str, prompt: &str| {
        format!("[[template]]\nname = \"{name}\"\nprompt = \"{prompt}\"\ntarget = \"{{{{ summary }}}}\"\n")
    };
    let mine = entry("short", "{{ dialogue }}") + &entry("long", "Read: {{ dialogue }}");
    place.write("mine.toml", &format!("choice = \"drawn\"\n{mine}"));
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let both = named(&["DIR/mine.toml/short", "DIR/mine.toml/long"]);
    assert_eq!(templates(&place, "task.0.template=DIR/mine.toml"), both);
    let some = "task.0.template={set=\"DIR/mine.toml\",names=[\"long\"]}";
    assert_eq!(templates(&place, some), named(&["DIR/mine.toml/long"]));
    let flan = "task.0.template={set=\"dialogue-summary-flan\",names=[\"plain\"]}";
    assert_eq!(templates(&place, flan), named(&["dialogue-summary-flan/plain"]));

    place.write(
        "templates.yaml",
        "dataset: d\ntemplates:\n  a: !Template\n    name: Sum up\n    jinja: 'Sum up: {{dialogue}} ||| {{summary}}'\n    \
         metadata: !TemplateMetadata\n      original_task: true\n",
    );
    assert_eq!(
        templates(&place, "task.0.template=DIR/templates.yaml"),
        named(&["DIR/templates.yaml/Sum up"])
    );
    // A run keeps the choice, and text is generated for rows by it.
    place.good(&format!("train DIR/trial.toml {some}"));
    place.good("generate --run DIR/runs/trial --file DIR/validation.jsonl --max-new-tokens 3");
    place.good(&format!(
        "generate --model {BASE} --file DIR/validation.jsonl --template DIR/templates.yaml --max-new-tokens 3"
    ));
}

#[test]
fn sets_that_are_wrong_name_file_and_template() {
    let place = Place::new();
    let says = |template: Value, what: &str| {
        let line =
            place.read("trial.toml").lines().position(|line| line.starts_with("template")).unwrap() + 1;
        let toml = template.to_string().replace("\":", "\" =");
        place.edit(
            "trial.toml",
            "template = \"dialogue-summary\"",
            &place.real(&format!("template = {toml}")),
        );
        let error = format!("DIR/trial.toml: 1 problem\n  DIR/trial.toml:{line}: task.0.template: {what}");
        place.bad("data preview DIR/trial.toml", 2, &error);
        place.edit(
            "trial.toml",
            &place.real(&format!("template = {toml}")),
            "template = \"dialogue-summary\"",
        );
    };
    says(json!("DIR/none.toml"), "DIR/none.toml: no such file");
    place.write("two.toml", "template = []");
    says(json!("DIR/two.toml"), "template set `DIR/two.toml`: it has no templates");
    says(
        json!({"set": "qa-closed-book", "names": ["lables"]}),
        "template set `qa-closed-book`: no template `lables`; did you mean `labels`? It has: `plain`, `labels`, `briefly`, \
         `quiz`, `know`, `inverted-ask`, `inverted-quiz`",
    );
    says(
        json!({"set": "qa-closed-book", "name": ["plain"]}),
        "expected a template set's name or file, or a table with `prompt` and `target`, or with `set` and `names`",
    );
}
