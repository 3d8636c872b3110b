//! Rows to prompts and targets.

use crate::columns::{self, MissingColumns};
use crate::error::{Error, Result};
use crate::row::{Origin, Row};
use crate::template::{Part, Template};
use crate::templates::TemplateSet;

/// What the model reads, what it is to write, and what its output is measured against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The model's input.
    pub prompt: String,
    /// The text to learn or to score; empty with [`Targets::Omitted`].
    pub target: String,
    /// The texts an output is compared with; empty with [`Targets::Omitted`].
    pub references: Vec<String>,
    /// The row this was made of.
    pub origin: Origin,
}

/// Where targets and references come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Targets {
    /// The template's target, which is the only reference as well: training, and evaluation with one reference.
    #[default]
    Template,
    /// The values of these columns are the references, blank ones left out. The target is the template's if the row
    /// has the columns for it, else the first reference: a test file with `summary1`, `summary2` and `summary3`
    /// needs no `summary`. Inversions are not used.
    References(Vec<String>),
    /// Neither: generation for rows that have no answers. Inversions are not used.
    Omitted,
}

/// A template set with all it takes to turn rows into examples.
#[derive(Debug)]
pub struct Prompts {
    set: TemplateSet,
    targets: Targets,
    seed: u64,
}

impl Prompts {
    /// Prompts of a set; `seed` matters only to sets that draw a template for each row.
    pub fn new(set: TemplateSet, targets: Targets, seed: u64) -> Self {
        let set = match targets {
            Targets::Template => set,
            Targets::References(_) | Targets::Omitted => set.without_inversions(),
        };
        Self { set, targets, seed }
    }

    /// Checks that the rows have every column that templates and references need, before any of them is used.
    ///
    /// A row counts for each template that it may get with any seed. A null value is missing; a column is needed
    /// only if the row's text cannot be made without it. Of several reference columns a row needs one, and each of
    /// them must occur in some row.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumns`]: all of them at once.
    pub fn check_columns(&self, rows: &[Row]) -> Result<()> {
        let mut missing = columns::Collector::new(rows);
        for row in rows {
            for template in self.set.candidates(row) {
                missing.template(template, Part::Prompt, row);
                if self.targets == Targets::Template {
                    missing.template(template, Part::Target, row);
                }
            }
        }
        if let Targets::References(columns) = &self.targets {
            missing.references(columns);
        }
        match missing.finish() {
            MissingColumns { columns, .. } if columns.is_empty() => Ok(()),
            missing => Err(Error::MissingColumns(missing)),
        }
    }

    /// Makes the example of one row; `index` is the row's number in its file, from 0.
    ///
    /// # Errors
    ///
    /// A row that no template is for, that lacks a column, or whose prompt or target is empty.
    pub fn example(&self, row: &Row, index: usize) -> Result<Example> {
        let template = self.set.template_for(row, index, self.seed)?;
        let prompt = filled(template, Part::Prompt, row)?;
        let (target, references) = match &self.targets {
            Targets::Template => {
                let target = filled(template, Part::Target, row)?;
                (target.clone(), vec![target])
            }
            Targets::References(columns) => {
                let references = references(columns, row)?;
                let target = match template.missing_columns(Part::Target, row).is_empty() {
                    true => filled(template, Part::Target, row)?,
                    false => references[0].clone(),
                };
                (target, references)
            }
            Targets::Omitted => (String::new(), Vec::new()),
        };
        Ok(Example { prompt, target, references, origin: row.origin.clone() })
    }

    /// Makes the examples of all rows of a file, in order: [`check_columns`](Self::check_columns), then
    /// [`example`](Self::example) for each.
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub fn examples(&self, rows: &[Row]) -> Result<Vec<Example>> {
        self.check_columns(rows)?;
        rows.iter().enumerate().map(|(index, row)| self.example(row, index)).collect()
    }
}

fn filled(template: &Template, part: Part, row: &Row) -> Result<String> {
    let text = template.render(part, row)?;
    if text.is_empty() {
        let (origin, template) = (row.origin.clone(), template.name().into());
        return Err(Error::EmptyText { origin, template, part: part.name() });
    }
    Ok(text)
}

/// The reference columns' texts, at least one.
fn references(columns: &[String], row: &Row) -> Result<Vec<String>> {
    let texts = columns.iter().filter(|column| row.has_content(column)).filter_map(|column| row.text(column));
    let texts: Vec<String> = texts.map(|text| text.trim_end().to_string()).collect();
    match texts.is_empty() {
        true => Err(Error::NoReference { origin: row.origin.clone(), columns: columns.to_vec() }),
        false => Ok(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::path::Path;

    fn rows(values: &[Value]) -> Vec<Row> {
        let row = |(index, value): (usize, &Value)| Row {
            fields: value.as_object().expect("a row is an object").clone(),
            origin: Origin::new(Path::new("rows.jsonl"), index + 1),
        };
        values.iter().enumerate().map(row).collect()
    }

    fn prompts(name: &str, targets: Targets) -> Prompts {
        Prompts::new(TemplateSet::named(name).unwrap(), targets, 1)
    }

    fn three() -> Targets {
        Targets::References(["summary1", "summary2", "summary3"].map(String::from).to_vec())
    }

    #[test]
    fn the_target_is_the_reference() {
        let rows = rows(&[json!({"dialogue": "A: Hi.", "summary": "A says hi.\n"})]);
        let examples = prompts("dialogue-summary", Targets::Template).examples(&rows).unwrap();
        assert_eq!(examples[0].target, "A says hi.");
        assert_eq!(examples[0].references, ["A says hi."]);
        assert_eq!(examples[0].origin.line, 1);
    }

    #[test]
    fn reference_columns_stand_in_for_a_target() {
        let rows = rows(&[
            json!({"dialogue": "A: Hi.", "summary1": "one ", "summary2": "two", "summary3": "three"}),
            json!({"dialogue": "A: Hi.", "summary1": " ", "summary2": null, "summary3": "three"}),
            json!({"dialogue": "A: Hi.", "summary": "own", "summary1": "one"}),
        ]);
        let examples = prompts("dialogue-summary", three()).examples(&rows).unwrap();
        assert_eq!(examples[0].references, ["one", "two", "three"]);
        assert_eq!(examples[1].references, ["three"]);
        let targets: Vec<_> = examples.iter().map(|example| example.target.as_str()).collect();
        assert_eq!(targets, ["one", "three", "own"]);
    }

    #[test]
    fn rows_without_answers_give_prompts() {
        let rows = rows(&[json!({"dialogue": "A: Hi."})]);
        let examples = prompts("dialogue-summary", Targets::Omitted).examples(&rows).unwrap();
        assert!(examples[0].prompt.contains("A: Hi.") && examples[0].target.is_empty());
        assert!(examples[0].references.is_empty());
    }

    #[test]
    fn evaluation_never_inverts() {
        let rows = rows(&vec![json!({"dialogue": "A: Hi.", "summary1": "one"}); 200]);
        let examples = prompts("dialogue-summary-flan", three()).examples(&rows[..]);
        let message = examples.unwrap_err().to_string();
        assert!(message.contains("`summary2`") && !message.contains("dialogue-summary-flan"), "{message}");
        for targets in [Targets::References(vec!["summary1".into()]), Targets::Omitted] {
            let examples = prompts("dialogue-summary-flan", targets).examples(&rows).unwrap();
            assert!(examples.iter().all(|example| example.prompt.contains("A: Hi.")));
        }
    }

    #[test]
    fn empty_texts_name_the_row() {
        let set = TemplateSet::inline("{{ a }}", "{{ b }}").unwrap();
        let prompts = Prompts::new(set, Targets::Template, 0);
        let message =
            |value| prompts.examples(&rows(&[json!({"a": "x", "b": "y"}), value])).unwrap_err().to_string();
        assert_eq!(
            message(json!({"a": " \n", "b": "y"})),
            "rows.jsonl:2: the prompt that template `inline` makes of this row is empty"
        );
        assert_eq!(
            message(json!({"a": "x", "b": ""})),
            "rows.jsonl:2: the target that template `inline` makes of this row is empty"
        );
    }

    #[test]
    fn blank_references_name_the_row() {
        let rows = rows(&[json!({"dialogue": "A: Hi.", "summary1": " "})]);
        let prompts = prompts("dialogue-summary", Targets::References(vec!["summary1".into()]));
        let message = prompts.examples(&rows).unwrap_err().to_string();
        assert_eq!(message, "rows.jsonl:1: no reference: nothing in `summary1`");
    }
}
