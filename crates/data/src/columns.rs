//! The columns that rows lack, all found before any row is used.

use std::collections::HashSet;
use std::fmt;

use crate::nearest::nearest;
use crate::row::{Origin, Row};
use crate::template::{Part, Template};

/// One column that some rows lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingColumn {
    /// Who needs it: a template by its name, or the references.
    pub needed_by: String,
    /// The column.
    pub column: String,
    /// How many rows lack it, among those that need it.
    pub rows: usize,
    /// The first of them.
    pub first: Origin,
    /// The nearest name among the columns that exist; `None` where other rows do have the column.
    pub nearest: Option<String>,
}

/// Every column that rows lack; never empty inside an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct MissingColumns {
    /// The columns, in the order they were found.
    pub columns: Vec<MissingColumn>,
    /// How many rows were checked.
    pub of_rows: usize,
    /// The columns that some row has a value for, in file order.
    pub existing: Vec<String>,
}

impl fmt::Display for MissingColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows lack columns:")?;
        for missing in &self.columns {
            let MissingColumn { needed_by, column, rows, first, nearest } = missing;
            write!(f, "\n  {needed_by}: column `{column}` is missing in {rows} of {} rows", self.of_rows)?;
            write!(f, ", first at {first}")?;
            if let Some(nearest) = nearest {
                write!(f, "; the nearest column is `{nearest}`")?;
            }
        }
        write!(f, "\n  the rows have: {}", self.existing.join(", "))
    }
}

/// Collects missing columns, row by row.
#[derive(Default)]
pub(crate) struct Collector {
    rows: usize,
    /// The columns that some row has a value for, in the order in which they came.
    existing: Vec<String>,
    known: HashSet<String>,
    found: Vec<MissingColumn>,
    /// Rows that have none of the reference columns.
    none: Option<Rows>,
}

/// Some rows.
#[derive(Clone)]
struct Rows {
    count: usize,
    first: Origin,
}

impl Collector {
    /// Takes notice of a row and of what its templates' parts miss in it.
    pub(crate) fn row<'a>(&mut self, row: &Row, parts: impl Iterator<Item = (&'a Template, Part)>) {
        self.rows += 1;
        for (name, _) in row.fields.iter().filter(|(_, value)| !value.is_null()) {
            if !self.known.contains(name) {
                self.known.insert(name.clone());
                self.existing.push(name.clone());
            }
        }
        for (template, part) in parts {
            for column in template.missing_columns(part, row) {
                let needed_by = format!("template `{}` ({})", template.name(), part.name());
                let mut found = self.found.iter_mut();
                match found.find(|found| found.needed_by == needed_by && found.column == column) {
                    Some(found) => found.rows += 1,
                    None => self.found.push(missing(needed_by, column, 1, row.origin.clone())),
                }
            }
        }
    }

    /// Takes notice of a row that has none of the reference columns.
    pub(crate) fn without_reference(&mut self, row: &Row) {
        match &mut self.none {
            Some(none) => none.count += 1,
            none => *none = Some(Rows { count: 1, first: row.origin.clone() }),
        }
    }

    /// Whether nothing is missing so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.none.is_none()
    }

    /// All that is missing. Of the reference columns, those that no row has, and the others for the rows that have none of
    /// them; `first` is the first row.
    pub(crate) fn finish(mut self, references: &[String], first: Option<Origin>) -> MissingColumns {
        for column in references {
            let rows = match self.known.contains(column) {
                true => self.none.clone(),
                false => first.clone().map(|first| Rows { count: self.rows, first }),
            };
            if let Some(Rows { count, first }) = rows {
                self.found.push(missing("references".into(), column, count, first));
            }
        }
        for found in &mut self.found {
            if !self.known.contains(&found.column) {
                let names = self.existing.iter().map(String::as_str);
                found.nearest = nearest(&found.column, names).map(String::from);
            }
        }
        MissingColumns { columns: self.found, of_rows: self.rows, existing: self.existing }
    }
}

fn missing(needed_by: String, column: &str, rows: usize, first: Origin) -> MissingColumn {
    MissingColumn { needed_by, column: column.into(), rows, first, nearest: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::{Prompts, Targets};
    use crate::templates::TemplateSet;
    use serde_json::{Value, json};
    use std::path::Path;

    fn rows(values: &[Value]) -> Vec<Row> {
        let row = |(index, value): (usize, &Value)| Row {
            fields: value.as_object().expect("a row is an object").clone(),
            origin: Origin::new(Path::new("rows.jsonl"), index + 1),
        };
        values.iter().enumerate().map(row).collect()
    }

    fn check(set: TemplateSet, targets: Targets, values: &[Value]) -> Result<(), String> {
        let examples = Prompts::new(set, targets, 0).examples(rows(values).into_iter().map(Ok));
        examples.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn all_missing_columns_are_reported_at_once() {
        let set = TemplateSet::named("dialogue-summary").unwrap();
        let values = [
            json!({"id": "1", "dialog": "A: Hi.", "summary": "Hi."}),
            json!({"id": "2", "dialog": "A: Hi.", "summary": null}),
            json!({"id": "3", "dialog": "A: Hi."}),
        ];
        assert_eq!(
            check(set, Targets::Template, &values).unwrap_err(),
            "rows lack columns:\n  \
             template `dialogue-summary` (prompt): column `dialogue` is missing in 3 of 3 rows, \
             first at rows.jsonl:1; the nearest column is `dialog`\n  \
             template `dialogue-summary` (target): column `summary` is missing in 2 of 3 rows, \
             first at rows.jsonl:2\n  \
             the rows have: id, dialog, summary"
        );
    }

    #[test]
    fn optional_columns_are_not_missed() {
        let alpaca = || TemplateSet::named("alpaca").unwrap();
        let row = json!({"instruction": "Add 1 and 2.", "output": "3"});
        assert_eq!(check(alpaca(), Targets::Template, std::slice::from_ref(&row)), Ok(()));
        let inline = "{{ instruction }}{% if input is defined %} {{ input }}{% endif %}";
        let set = TemplateSet::inline(inline, "{{ output }}").unwrap();
        assert_eq!(check(set, Targets::Template, &[row]), Ok(()));
        let message = check(alpaca(), Targets::Template, &[json!({"instruction": "x", "input": "y"})]);
        assert!(message.unwrap_err().contains("template `alpaca/with-input` (target): column `output`"));
    }

    #[test]
    fn each_template_that_a_row_may_get_is_checked() {
        let set = TemplateSet::named("dialogue-summary-flan").unwrap();
        let message = check(set, Targets::Template, &[json!({"dialogue": "A: Hi."})]).unwrap_err();
        assert_eq!(message.matches("column `summary` is missing in 1 of 1 rows").count(), 10, "{message}");
    }

    #[test]
    fn references_need_one_column_a_row() {
        let set = || TemplateSet::named("dialogue-summary").unwrap();
        let targets = || Targets::References(vec!["summary1".into(), "summary2".into()]);
        let both = json!({"dialogue": "A", "summary1": "a", "summary2": "b"});
        let one = json!({"dialogue": "A", "summary1": "a", "summary2": null});
        assert_eq!(check(set(), targets(), &[both.clone(), one.clone()]), Ok(()));

        let never = check(set(), targets(), &[one]).unwrap_err();
        assert!(never.contains("references: column `summary2` is missing in 1 of 1 rows"), "{never}");
        assert!(never.contains("the nearest column is `summary1`"), "{never}");
        assert!(!never.contains("column `summary1`"), "{never}");

        let neither = check(set(), targets(), &[both, json!({"dialogue": "A"})]).unwrap_err();
        assert!(
            neither.contains("`summary1` is missing in 1 of 2 rows, first at rows.jsonl:2\n"),
            "{neither}"
        );
    }
}
