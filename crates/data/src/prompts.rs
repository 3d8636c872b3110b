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
    /// The name of the template that made it.
    pub template: String,
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
        let (origin, template) = (row.origin.clone(), template.name().into());
        Ok(Example { prompt, target, references, origin, template })
    }

    /// Makes the examples of all rows, in order, each by [`example`](Self::example). Of the rows, nothing else is kept.
    ///
    /// The rows must have every column that templates and references need. A row counts for each template that it may get
    /// with any seed. A null value is missing; a column is needed only if the row's text cannot be made without it. Of
    /// several reference columns a row needs one, and each of them must occur in some row.
    ///
    /// # Errors
    ///
    /// The first row's that cannot be read; else [`Error::MissingColumns`], all of them at once; else the first row's that
    /// no example can be made of.
    pub fn examples(&self, rows: impl IntoIterator<Item = Result<Row>>) -> Result<Vec<Example>> {
        let mut examples = Vec::new();
        self.each(rows, &mut |example| {
            examples.push(example);
            Ok(())
        })?;
        Ok(examples)
    }

    /// [`examples`](Self::examples), each handed over as soon as it is made, and none behind the first error.
    ///
    /// # Errors
    ///
    /// Those of `examples`, or what `take` says.
    pub fn each(
        &self,
        rows: impl IntoIterator<Item = Result<Row>>,
        take: &mut dyn FnMut(Example) -> Result<()>,
    ) -> Result<()> {
        let (mut missing, mut made, mut first) = (columns::Collector::default(), Ok(()), None);
        let parts = match self.targets {
            Targets::Template => &[Part::Prompt, Part::Target][..],
            Targets::References(_) | Targets::Omitted => &[Part::Prompt],
        };
        let references = match &self.targets {
            Targets::References(columns) => columns.as_slice(),
            Targets::Template | Targets::Omitted => &[],
        };
        for (index, row) in rows.into_iter().enumerate() {
            let row = row?;
            let templates = self.set.candidates(&row);
            let wanted =
                templates.into_iter().flat_map(|template| parts.iter().map(move |part| (template, *part)));
            missing.row(&row, wanted);
            if !references.is_empty() && references.iter().all(|column| row.get(column).is_none()) {
                missing.without_reference(&row);
            }
            first.get_or_insert_with(|| row.origin.clone());
            // The rows behind an error are still looked at for columns that they lack.
            if made.is_ok() && missing.is_empty() {
                match self.example(&row, index) {
                    Ok(example) => take(example)?,
                    Err(error) => made = Err(error),
                }
            }
        }
        match missing.finish(references, first) {
            MissingColumns { columns, .. } if columns.is_empty() => made,
            missing => Err(Error::MissingColumns(missing)),
        }
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

    fn rows(values: &[Value]) -> Vec<Result<Row>> {
        let row = |(index, value): (usize, &Value)| Row {
            fields: value.as_object().expect("a row is an object").clone(),
            origin: Origin::new(Path::new("rows.jsonl"), index + 1),
        };
        values.iter().enumerate().map(row).map(Ok).collect()
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
        let examples = prompts("dialogue-summary", Targets::Template).examples(rows).unwrap();
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
        let examples = prompts("dialogue-summary", three()).examples(rows).unwrap();
        assert_eq!(examples[0].references, ["one", "two", "three"]);
        assert_eq!(examples[1].references, ["three"]);
        let targets: Vec<_> = examples.iter().map(|example| example.target.as_str()).collect();
        assert_eq!(targets, ["one", "three", "own"]);
    }

    #[test]
    fn rows_without_answers_give_prompts() {
        let rows = rows(&[json!({"dialogue": "A: Hi."})]);
        let examples = prompts("dialogue-summary", Targets::Omitted).examples(rows).unwrap();
        assert!(examples[0].prompt.contains("A: Hi.") && examples[0].target.is_empty());
        assert!(examples[0].references.is_empty());
    }

    #[test]
    fn evaluation_never_inverts() {
        let values = vec![json!({"dialogue": "A: Hi.", "summary1": "one"}); 200];
        let examples = prompts("dialogue-summary-flan", three()).examples(rows(&values));
        let message = examples.unwrap_err().to_string();
        assert!(message.contains("`summary2`") && !message.contains("dialogue-summary-flan"), "{message}");
        for targets in [Targets::References(vec!["summary1".into()]), Targets::Omitted] {
            let examples = prompts("dialogue-summary-flan", targets).examples(rows(&values)).unwrap();
            assert!(examples.iter().all(|example| example.prompt.contains("A: Hi.")));
        }
    }

    #[test]
    fn empty_texts_name_the_row() {
        let set = TemplateSet::inline("{{ a }}", "{{ b }}").unwrap();
        let prompts = Prompts::new(set, Targets::Template, 0);
        let message =
            |value| prompts.examples(rows(&[json!({"a": "x", "b": "y"}), value])).unwrap_err().to_string();
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
        let message = prompts.examples(rows).unwrap_err().to_string();
        assert_eq!(message, "rows.jsonl:1: no reference: nothing in `summary1`");
    }
}
