use super::*;
use crate::row::Origin;
use serde_json::json;
use std::path::Path;

fn row(fields: serde_json::Value) -> Row {
    let serde_json::Value::Object(fields) = fields else { panic!("a row is an object") };
    Row { fields, origin: Origin::new(Path::new("rows.jsonl"), 4) }
}

fn prompt(source: &str, fields: serde_json::Value) -> Result<String> {
    Template::new("test", source, "{{ y }}")?.render(Part::Prompt, &row(fields))
}

#[test]
fn nothing_is_escaped_and_the_end_is_trimmed() {
    let text = prompt("<{{ a }}> {{ n }} {{ f }}\n\n \n", json!({"a": "\"x\" & <y>", "n": 3, "f": 0.5}));
    assert_eq!(text.unwrap(), "<\"x\" & <y>> 3 0.5");
}

#[test]
fn block_lines_leave_no_lines() {
    let source =
        "a\n{% if b is defined %}\n  b {{ b }}\n{% endif %}\n{% for o in options %}\n- {{ o }}\n{% endfor %}";
    let text = prompt(source, json!({"b": null, "options": ["yes", "no"]})).unwrap();
    assert_eq!(text, "a\n- yes\n- no");
    assert_eq!(prompt(source, json!({"b": 1, "options": []})).unwrap(), "a\n  b 1");
}

#[test]
fn what_a_row_lacks_is_an_error() {
    for fields in [json!({}), json!({"a": null})] {
        let message = prompt("x\n{{ a }}", fields).unwrap_err().to_string();
        assert!(message.starts_with("rows.jsonl:4: template `test`: undefined value"), "{message}");
        assert!(message.contains("prompt:2"), "{message}");
    }
}

#[test]
fn syntax_errors_name_part_and_line() {
    let message = Template::new("mine", "fine", "\n{{ a").unwrap_err().to_string();
    assert!(message.starts_with("template `mine`: syntax error"), "{message}");
    assert!(message.contains("target:2"), "{message}");
}

#[test]
fn columns_are_the_free_variables() {
    let source = "{% set x = a %}{{ x }}{% for i in range(n) %}{{ i }}{{ b.c }}{% endfor %}";
    let template = Template::new("test", source, "{{ y | upper }}").unwrap();
    let names = |part| template.columns(part).iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names(Part::Prompt), ["a", "b", "n"]);
    assert_eq!(names(Part::Target), ["y"]);
}

#[test]
fn columns_that_a_row_can_do_without_are_not_missing() {
    let source = "{% if a is defined %}{{ a }} {{ b }}{% endif %}{{ c }}";
    let template = Template::new("test", source, "").unwrap();
    let missing = |fields| template.missing_columns(Part::Prompt, &row(fields));
    assert_eq!(missing(json!({})), ["c"]);
    assert!(missing(json!({"c": 1})).is_empty());
    assert_eq!(missing(json!({"a": 1, "c": 1})), ["b"]);
    assert_eq!(missing(json!({"b": 1})), ["c"]);
    assert!(missing(json!({"a": 1, "b": 1, "c": 1})).is_empty());
}

#[test]
fn options_are_texts_or_a_list_of_the_row() {
    let template = |options| {
        let prompt = "{{ q }}: {{ options | join(' or ') }}?";
        Template::with_options("test", prompt, "{{ options[label] }}", Some(options))
    };
    let render = |options: Options, fields| {
        let (template, row) = (template(options)?, row(fields));
        let options = template.options(&row)?.expect("it has options");
        Ok::<_, Error>((options, template.render(Part::Prompt, &row)?, template.render(Part::Target, &row)?))
    };
    let expected =
        |prompt: &str, target: &str| (vec!["no".to_string(), "2".into()], prompt.into(), target.into());
    let texts = Options::Texts(vec!["no".into(), "2".into()]);
    let found = render(texts, json!({"q": "q", "label": 1, "options": ["other"]}));
    assert_eq!(found.unwrap(), expected("q: no or 2?", "2"));
    let list = || Options::Expression("lists.first".into());
    let row_of = |first| json!({"q": "q", "label": 0, "lists": {"first": first}});
    assert_eq!(render(list(), row_of(json!(["no", 2]))).unwrap(), expected("q: no or 2?", "no"));
    for (first, found) in [(json!("no"), "no list"), (json!([]), "an empty list")] {
        let message = render(list(), row_of(first)).unwrap_err().to_string();
        assert_eq!(
            message,
            format!(
                "rows.jsonl:4: template `test`: invalid operation: options: `lists.first` gives {found} of answers to \
                 choose from"
            )
        );
    }
    let columns = template(list()).unwrap();
    assert_eq!(columns.columns(Part::Prompt).iter().collect::<Vec<_>>(), ["lists", "q"]);
    assert_eq!(columns.columns(Part::Target).iter().collect::<Vec<_>>(), ["label", "lists"]);
    assert_eq!(columns.missing_columns(Part::Target, &row(json!({"label": 0}))), ["lists"]);
    let wrong = template(Options::Expression("lists[".into())).unwrap_err().to_string();
    assert!(wrong.starts_with("template `test`: options: syntax error"), "{wrong}");
}
