//! One prompt template: a prompt and a target over a row's columns.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use crate::error::{Error, Result};
use crate::row::Row;

/// The two texts a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the model reads.
    Prompt,
    /// What the model is to write.
    Target,
}

impl Part {
    /// `prompt` or `target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Target => "target",
        }
    }
}

/// A prompt and a target in the language of Jinja, `{{ column }}` standing for a column's value.
///
/// Nothing is escaped, a column that the row lacks is an error (a null value is one that it lacks), a line that
/// holds a `{% block %}` only leaves no line behind, and whitespace at the end of a text is taken off.
pub struct Template {
    name: String,
    engine: Environment<'static>,
    prompt_columns: BTreeSet<String>,
    target_columns: BTreeSet<String>,
}

impl Template {
    /// Compiles a template. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// A syntax error, with its part and line.
    pub fn new(name: impl Into<String>, prompt: &str, target: &str) -> Result<Self> {
        let name = name.into();
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        engine.set_syntax(syntax.expect("Jinja's own delimiters are valid"));
        for (part, source) in [(Part::Prompt, prompt), (Part::Target, target)] {
            engine.add_template_owned(part.name(), source.to_string()).map_err(|error| {
                Error::TemplateSyntax { template: name.clone(), reason: error.to_string() }
            })?;
        }
        let prompt_columns = columns(&engine, Part::Prompt);
        let target_columns = columns(&engine, Part::Target);
        Ok(Self { name, engine, prompt_columns, target_columns })
    }

    /// What messages call this template.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns that a part mentions, whether or not it can do without some of them
    /// (`{% if input is defined %}`).
    pub fn columns(&self, part: Part) -> &BTreeSet<String> {
        match part {
            Part::Prompt => &self.prompt_columns,
            Part::Target => &self.target_columns,
        }
    }

    /// A part's text for a row, without whitespace at its end; it may be empty.
    ///
    /// # Errors
    ///
    /// A column that the row lacks, or an operation that its value does not allow.
    pub fn render(&self, part: Part, row: &Row) -> Result<String> {
        self.render_with(part, row, &[])
    }

    /// The columns that `row` lacks and that `part` cannot do without for this row: a smallest set of columns
    /// that, were they there, would let the part be rendered.
    pub(crate) fn missing_columns<'a>(&'a self, part: Part, row: &Row) -> Vec<&'a str> {
        let mentioned = self.columns(part).iter().map(String::as_str);
        let mut missing: Vec<&str> = mentioned.filter(|column| row.get(column).is_none()).collect();
        // Leaving one out may make another superfluous (`{% if a is defined %}{{ b }}{% endif %}`).
        while let Some(without) = (0..missing.len()).find_map(|index| {
            let mut others = missing.clone();
            others.remove(index);
            self.render_with(part, row, &others).is_ok().then_some(others)
        }) {
            missing = without;
        }
        missing
    }

    /// Renders with `stand_ins` as columns that are there with some text.
    fn render_with(&self, part: Part, row: &Row, stand_ins: &[&str]) -> Result<String> {
        let present = self.columns(part).iter().filter_map(|column| {
            let value = row.get(column).map(|value| Value::from(Serde(value)))?;
            Some((column.as_str(), value))
        });
        let invented = stand_ins.iter().map(|column| (*column, Value::from("text")));
        let context: BTreeMap<&str, Value> = present.chain(invented).collect();
        let template = self.engine.get_template(part.name());
        let mut text =
            template.and_then(|template| template.render(Value::from(context))).map_err(|error| {
                let (origin, template) = (row.origin.clone(), self.name.clone());
                Error::Render { origin, template, reason: error.to_string() }
            })?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("name", &self.name)
            .field("prompt_columns", &self.prompt_columns)
            .field("target_columns", &self.target_columns)
            .finish_non_exhaustive()
    }
}

/// The variables of a part that are neither set in it nor functions of the engine.
fn columns(engine: &Environment<'_>, part: Part) -> BTreeSet<String> {
    let globals: BTreeSet<&str> = engine.globals().map(|(name, _)| name).collect();
    let template = engine.get_template(part.name()).expect("both parts were added");
    let variables = template.undeclared_variables(false).into_iter();
    variables.filter(|name| !globals.contains(name.as_str())).collect()
}

#[cfg(test)]
mod tests {
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
        let source = "a\n{% if b is defined %}\n  b {{ b }}\n{% endif %}\n{% for o in options %}\n- {{ o }}\n{% endfor %}";
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
}
