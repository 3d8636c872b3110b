use super::*;
use crate::row::Origin;
use crate::template::Part;
use serde_json::{Value, json};

fn row(fields: Value) -> Row {
    let Value::Object(fields) = fields else { panic!("a row is an object") };
    Row { fields, origin: Origin::new(Path::new("rows.jsonl"), 1) }
}

fn prompt_and_target(set: &TemplateSet, fields: Value) -> (String, String) {
    let row = row(fields);
    let template = set.template_for(&row, 0, 0).unwrap();
    (template.render(Part::Prompt, &row).unwrap(), template.render(Part::Target, &row).unwrap())
}

#[test]
fn the_plain_dialogue_prompt() {
    let set = TemplateSet::named("dialogue-summary").unwrap();
    assert_eq!(set.templates().count(), 1);
    let (prompt, target) =
        prompt_and_target(&set, json!({"dialogue": "A: Hi.\nB: Bye.", "summary": "Short. "}));
    assert_eq!(prompt, "Summarize the following conversation.\n\nA: Hi.\nB: Bye.\n\nSummary:");
    assert_eq!(target, "Short.");
}

#[test]
fn alpaca_has_two_forms() {
    let set = TemplateSet::named("alpaca").unwrap();
    let (prompt, target) =
        prompt_and_target(&set, json!({"instruction": "Add.", "input": "1 2", "output": "3"}));
    assert!(prompt.ends_with("### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:"), "{prompt}");
    assert_eq!(target, "3");
    for fields in [
        json!({"instruction": "Add.", "output": "3"}),
        json!({"instruction": "Add.", "output": "3", "input": ""}),
        json!({"instruction": "Add.", "output": "3", "input": null}),
    ] {
        let (prompt, _) = prompt_and_target(&set, fields);
        assert!(prompt.ends_with("### Instruction:\nAdd.\n\n### Response:"), "{prompt}");
    }
}

#[test]
fn drawn_templates_are_spread_and_repeatable() {
    let set = TemplateSet::named("dialogue-summary-flan").unwrap();
    let row = row(json!({"dialogue": "A: Hi.", "summary": "Short."}));
    let draw = |index, seed| set.template_for(&row, index, seed).unwrap().name().to_string();
    let mut counts = std::collections::HashMap::new();
    for index in 0..10_000 {
        *counts.entry(draw(index, 1)).or_insert(0_i32) += 1;
    }
    assert_eq!(counts.len(), 10);
    // 1,000 expected, standard deviation 30.
    assert!(counts.values().all(|count| (count - 1000).abs() < 150), "{counts:?}");
    assert!((0..100).all(|index| draw(index, 7) == draw(index, 7)));
    assert!((0..100).any(|index| draw(index, 7) != draw(index, 8)));
}

#[test]
fn inversions_ask_for_the_dialogue() {
    let set = TemplateSet::named("dialogue-summary-flan").unwrap();
    let asks_for = |column: &str| {
        let other = if column == "summary" { "dialogue" } else { "summary" };
        let asks = |template: &&Template| {
            template.columns(Part::Target).contains(column) && template.columns(Part::Prompt).contains(other)
        };
        set.templates().filter(asks).count()
    };
    assert_eq!((asks_for("summary"), asks_for("dialogue")), (7, 3));
    let set = set.without_inversions();
    assert_eq!(set.templates().count(), 7);
    assert!(set.templates().all(|template| template.columns(Part::Target).contains("summary")));
}

#[test]
fn unknown_names_list_the_known_ones() {
    assert_eq!(
        TemplateSet::named("dialog-summary").unwrap_err().to_string(),
        "no template set `dialog-summary`; did you mean `dialogue-summary`? \
         Known sets: alpaca, dialogue-summary, dialogue-summary-flan, entities, entities-of-type, qa-choices, \
         qa-choices-lettered, qa-closed-book, qa-context, review-rating, review-sentence, sentiment, translation; \
         a file of templates ends in .toml or .yaml"
    );
}

#[test]
fn sets_that_are_not_well_formed() {
    let refuse = |text: &str| TemplateSet::from_toml("mine", text).unwrap_err().to_string();
    let entry = "[[template]]\nname = \"a\"\nprompt = \"p\"\ntarget = \"t\"\n";
    assert_eq!(refuse("template = []"), "template set `mine`: it has no templates");
    let twice = refuse(&format!("{entry}{entry}"));
    assert_eq!(twice, "template set `mine`: two templates are called `a`");
    let unknown = refuse(&format!("{entry}wen = [\"x\"]\n"));
    assert!(unknown.contains("unknown field `wen`") && unknown.contains("`when`"), "{unknown}");
    let empty = refuse(&format!("options = []\n{entry}"));
    assert_eq!(empty, "template set `mine`: `options` of `a` is empty");
    let number = refuse(&format!("{entry}options = 3\n"));
    assert!(number.contains("expected a list of texts, or an expression"), "{number}");
    let part =
        refuse(&format!("{entry}[[template]]\nname = \"b\"\nprompt = \"p\"\ntarget = \"x\\n{{{{ t\"\n"));
    assert!(part.starts_with("template `mine/b`: syntax error") && part.contains("target:2"), "{part}");
    let nowhere = TemplateSet::from_file(Path::new("nowhere.toml")).unwrap_err().to_string();
    assert_eq!(nowhere, "nowhere.toml: no such file");
}

#[test]
fn a_set_is_opened_by_name_or_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let count = |name: &str| TemplateSet::open(name).unwrap().templates().count();
    assert_eq!(count("dialogue-summary-flan"), 10);
    let entry = "[[template]]\nname = \"a\"\nprompt = \"p\"\ntarget = \"t\"\n";
    assert_eq!(count(&write("mine.toml", entry)), 1);
    for name in ["mine.yaml", "mine.yml"] {
        assert_eq!(count(&write(name, include_str!("../../tests/promptsource.yaml"))), 3);
    }
    let wrong = TemplateSet::open(&write("wrong.toml", "x")).unwrap_err().to_string();
    assert!(wrong.starts_with("template set `") && wrong.contains("wrong.toml`: "), "{wrong}");
}

#[test]
fn rows_that_no_template_is_for() {
    let text = "[[template]]\nname = \"a\"\nwhen = [\"x\"]\nprompt = \"p\"\ntarget = \"t\"\n";
    let set = TemplateSet::from_toml("mine", text).unwrap();
    let message = set.template_for(&row(json!({"x": " "})), 0, 0).unwrap_err().to_string();
    assert_eq!(message, "rows.jsonl:1: no template of set `mine` is for this row");
    assert!(set.template_for(&row(json!({"x": "filled"})), 0, 0).is_ok());
}
