use insta::assert_snapshot;

use super::wrong;
use crate::harness::Place;

const GOOD: &str = "{\"dialogue\": \"A: Hi.\", \"summary\": \"Hi.\"}\n";

#[test]
fn columns_that_are_missing() {
    let place = Place::new();
    place.write(
        "dialog.jsonl",
        "{\"dialog\": \"A: Hi.\", \"summary\": \"Hi.\"}\n{\"dialog\": \"B\", \"summary\": \"b\"}\n",
    );
    place.write("null.jsonl", &format!("{GOOD}{{\"dialogue\": \"A: Hi.\", \"summary\": null}}\n"));
    let train = |more: &str| wrong(&place, &format!("train DIR/trial.toml {more}"));
    assert_snapshot!(train("task.0.train=DIR/dialog.jsonl"), @"
    1: error: rows lack columns:
      template `dialogue-summary` (prompt): column `dialogue` is missing in 2 of 2 rows, first at DIR/dialog.jsonl:1; the nearest column is `dialog`
      the rows have: dialog, summary
    ");
    assert_snapshot!(train("task.0.train=DIR/null.jsonl"), @"
    1: error: rows lack columns:
      template `dialogue-summary` (target): column `summary` is missing in 1 of 2 rows, first at DIR/null.jsonl:2
      the rows have: dialogue, summary
    ");
    // Those of all parts come together.
    assert_snapshot!(train("task.0.train=DIR/dialog.jsonl task.0.references=[\"gist\"]"), @"
    1: error: rows lack columns:
      template `dialogue-summary` (prompt): column `dialogue` is missing in 2 of 2 rows, first at DIR/dialog.jsonl:1; the nearest column is `dialog`
      the rows have: dialog, summary
    rows lack columns:
      references: column `gist` is missing in 100 of 100 rows, first at data/quickstart/test.jsonl:1; the nearest column is `id`
      the rows have: id, dialogue, summary1, summary2, summary3
    ");
}

#[test]
fn texts_that_are_empty() {
    let place = Place::new();
    place.write("target.jsonl", &format!("{GOOD}{{\"dialogue\": \"A: Hi.\", \"summary\": \" \"}}\n"));
    place.write("prompt.jsonl", "{\"dialogue\": \" \", \"summary\": \"Hi.\"}\n");
    place.write("references.jsonl", "{\"dialogue\": \"A: Hi.\", \"one\": \" \", \"two\": \"\"}\n");
    let train = |more: &str| wrong(&place, &format!("train DIR/trial.toml {more}"));
    assert_snapshot!(train("task.0.train=DIR/target.jsonl"), @"1: error: DIR/target.jsonl:2: the target that template `dialogue-summary` makes of this row is empty");
    let template = "task.0.template={prompt=\"{{dialogue}}\",target=\"{{summary}}\"}";
    assert_snapshot!(train(&format!("task.0.train=DIR/prompt.jsonl {template}")), @"1: error: DIR/prompt.jsonl:1: the prompt that template `inline` makes of this row is empty");
    assert_snapshot!(train("task.0.test=DIR/references.jsonl task.0.references=[\"one\",\"two\"]"), @"1: error: DIR/references.jsonl:1: no reference: nothing in `one`, `two`");
}

#[test]
fn rows_that_a_template_cannot_be_filled_from() {
    let place = Place::new();
    let template = "task.0.template={prompt=\"{{dialogue+1}}\",target=\"{{summary}}\"}";
    assert_snapshot!(wrong(&place, &format!("train DIR/trial.toml {template}")), @"1: error: DIR/rows.jsonl:1: template `inline`: invalid operation: tried to use + operator on unsupported types string and number (in prompt:1)");
}
