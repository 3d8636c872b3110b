//! A file of templates as promptsource writes it. The expected texts are those of its own `Template.apply`.

use std::path::Path;

use serde_json::{Value, json};
use tallow_data::{Error, Origin, Part, Prompts, Row, Targets, Template, TemplateSet};

const TEXT: &str = include_str!("promptsource.yaml");

fn set() -> TemplateSet {
    TemplateSet::from_promptsource("meals.yaml", TEXT).unwrap()
}

fn row(fields: Value) -> Row {
    let Value::Object(fields) = fields else { panic!("a row is an object") };
    Row { fields, origin: Origin::new(Path::new("rows.jsonl"), 1) }
}

fn some(name: &str) -> TemplateSet {
    set().only(&[name.to_owned()]).unwrap()
}

fn texts(template: &Template, row: &Row) -> [String; 2] {
    [Part::Prompt, Part::Target].map(|part| template.render(part, row).unwrap())
}

#[test]
fn prompts_and_targets_stand_on_both_sides_of_the_bars() {
    let set = set();
    let templates: Vec<&Template> = set.templates().collect();
    let names: Vec<&str> = templates.iter().map(|template| template.name()).collect();
    assert_eq!(names, ["meals.yaml/cold or warm?", "meals.yaml/first guest", "meals.yaml/describe"]);

    let meal =
        row(json!({"text": " Soup ||| bread ", "label": 1, "guests": [{"name": "Ann"}, {"name": "Bo"}]}));
    assert_eq!(texts(templates[0], &meal), ["Is this meal cold or warm?\n Soup ||| bread", "warm"]);
    assert_eq!(templates[0].options(&meal).unwrap().unwrap(), ["cold", "warm"]);
    assert_eq!(texts(templates[1], &meal), ["Who is the first guest: Ann, Bo?", "ANN"]);
    assert_eq!(templates[1].options(&meal).unwrap().unwrap(), ["Ann", "Bo"]);
    assert_eq!(templates[2].options(&meal).unwrap(), None);
}

#[test]
fn what_is_drawn_is_the_same_in_prompt_and_target_and_for_equal_rows() {
    let set = some("describe");
    let template = set.templates().next().unwrap();
    let mut verbs = std::collections::BTreeSet::new();
    for number in 0..50 {
        let meal = row(json!({"text": format!("Rice {number}."), "label": 0}));
        let [prompt, target] = texts(template, &meal);
        let (verb, rest) = prompt.split_once(' ').unwrap();
        assert_eq!(rest, "a meal that is cold\u{2026}");
        assert_eq!(target, format!("{}: Rice {number}.", verb.to_lowercase()));
        assert_eq!(texts(template, &meal), [prompt.clone(), target]);
        verbs.insert(verb.to_owned());
    }
    assert_eq!(verbs.len(), 3);
}

#[test]
fn other_tasks_are_inversions_unless_they_are_all_there_is() {
    let names = |set: TemplateSet| -> Vec<String> {
        set.without_inversions().templates().map(|template| template.name().to_owned()).collect()
    };
    assert_eq!(names(set()), ["meals.yaml/cold or warm?", "meals.yaml/first guest"]);
    assert_eq!(names(some("describe")), ["meals.yaml/describe"]);
}

#[test]
fn a_template_that_comes_out_empty_is_not_for_the_row() {
    let set = set().only(&["first guest".to_owned(), "cold or warm?".to_owned()]).unwrap();
    let lonely = row(json!({"text": "Soup.", "label": 0, "guests": []}));
    for index in 0..20 {
        assert_eq!(set.template_for(&lonely, index, 1).unwrap().name(), "meals.yaml/cold or warm?");
    }
    let message = some("first guest").template_for(&lonely, 0, 1).unwrap_err().to_string();
    assert_eq!(message, "rows.jsonl:1: no template of set `meals.yaml` is for this row");
}

#[test]
fn a_target_needs_its_own_columns_alone() {
    let examples = |targets, fields| {
        let prompts = Prompts::new(some("cold or warm?"), targets, 0);
        prompts.examples([Ok(row(fields))]).map_err(|error| error.to_string())
    };
    let unlabelled = examples(Targets::Omitted, json!({"text": "Soup."})).unwrap();
    assert_eq!(unlabelled[0].prompt, "Is this meal cold or warm?\nSoup.");
    let message = examples(Targets::Template, json!({"text": "Soup.", "label": null})).unwrap_err();
    assert_eq!(
        message,
        "rows lack columns:\n  template `meals.yaml/cold or warm?` (target): column `label` is missing in 1 of 1 rows, \
         first at rows.jsonl:1; the nearest column is `text`\n  the rows have: text"
    );
}

#[test]
fn files_that_are_wrong_name_template_and_line() {
    let refuse = |from: &str, to: &str| {
        assert!(TEXT.contains(from));
        TemplateSet::from_promptsource("meals.yaml", &TEXT.replace(from, to)).unwrap_err().to_string()
    };
    let message = refuse("[label]\\", "[label\\");
    assert!(
        message.starts_with("template `meals.yaml/cold or warm?`: line 4 of the file: syntax error"),
        "{message}"
    );
    assert!(message.contains("(in template:4)"), "{message}");
    let message = refuse("{% endif %}'", "'");
    assert!(
        message.starts_with("template `meals.yaml/first guest`: line 18 of the file: syntax error"),
        "{message}"
    );
    let message = refuse("\\u2026 |||", "\\u2026");
    assert_eq!(
        message,
        "template `meals.yaml/describe`: line 41 of the file: it has no `|||` between prompt and target"
    );
    let message = refuse("name: describe", "name: first guest");
    assert_eq!(message, "template set `meals.yaml`: two templates are called `first guest`");
    let message = refuse("    name: describe\n", "");
    assert!(
        message.starts_with("template set `meals.yaml`: not a file of promptsource's templates: ")
            && message.contains("missing field `name`")
            && message.contains("line"),
        "{message}"
    );
}

#[test]
fn what_is_not_supported_names_template_and_line() {
    let render = |jinja: &str| {
        let text = format!("templates:\n  a: !Template\n    name: mine\n    jinja: \"{jinja}\"\n");
        let set = TemplateSet::from_promptsource("own.yaml", &text).unwrap();
        let error = set.templates().next().unwrap().render(Part::Prompt, &row(json!({"a": [1], "b": null})));
        assert!(matches!(error, Err(Error::Render { .. })), "{error:?}");
        error.unwrap_err().to_string()
    };
    let message = render("x\\n{{ a.append(2) or '' }} ||| y");
    assert!(message.starts_with("rows.jsonl:1: template `own.yaml/mine`: unknown method: "), "{message}");
    assert!(message.contains(".append() is not supported") && message.contains("(in prompt:2)"), "{message}");
    let message = render("{{ a | frobnicate }} ||| y");
    assert!(message.contains("frobnicate") && message.contains("(in prompt:1)"), "{message}");
    let message = render("{{ b }} ||| y");
    assert!(message.contains("null would be written as `None`"), "{message}");
}

#[test]
fn templates_are_chosen_by_name() {
    let message = set().only(&["first gest".to_owned()]).unwrap_err().to_string();
    assert_eq!(
        message,
        "template set `meals.yaml`: no template `first gest`; did you mean `first guest`? \
         It has: `cold or warm?`, `first guest`, `describe`"
    );
    let message = set().only(&[]).unwrap_err().to_string();
    assert!(message.starts_with("template set `meals.yaml`: `names` is empty"), "{message}");
}
