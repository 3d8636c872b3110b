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

/// Collects missing columns over all rows.
pub(crate) struct Collector<'a> {
    rows: &'a [Row],
    existing: Vec<&'a str>,
    found: Vec<MissingColumn>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(rows: &'a [Row]) -> Self {
        let mut seen = HashSet::new();
        let names = rows.iter().flat_map(|row| &row.fields).filter(|(_, value)| !value.is_null());
        let existing = names.map(|(name, _)| name.as_str()).filter(|&name| seen.insert(name)).collect();
        Self { rows, existing, found: Vec::new() }
    }

    /// Notes what a part of a template misses in `row`.
    pub(crate) fn template(&mut self, template: &Template, part: Part, row: &Row) {
        for column in template.missing_columns(part, row) {
            let needed_by = format!("template `{}` ({})", template.name(), part.name());
            self.note(&needed_by, column, row);
        }
    }

    /// Notes the reference columns that no row has, or else those of rows that have none of them.
    pub(crate) fn references(&mut self, columns: &[String]) {
        let rows = self.rows;
        for row in rows {
            let none = columns.iter().all(|column| row.get(column).is_none());
            for column in columns {
                if none || !self.existing.contains(&column.as_str()) {
                    self.note("references", column, row);
                }
            }
        }
    }

    pub(crate) fn finish(self) -> MissingColumns {
        let existing = self.existing.into_iter().map(String::from).collect();
        MissingColumns { columns: self.found, of_rows: self.rows.len(), existing }
    }

    fn note(&mut self, needed_by: &str, column: &str, row: &Row) {
        let known =
            self.found.iter_mut().find(|found| found.needed_by == needed_by && found.column == column);
        if let Some(found) = known {
            found.rows += 1;
            return;
        }
        let exists = self.existing.contains(&column);
        let nearest = if exists { None } else { nearest(column, self.existing.iter().copied()) };
        self.found.push(MissingColumn {
            needed_by: needed_by.into(),
            column: column.into(),
            rows: 1,
            first: row.origin.clone(),
            nearest: nearest.map(String::from),
        });
    }
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
        Prompts::new(set, targets, 0).check_columns(&rows(values)).map_err(|error| error.to_string())
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
