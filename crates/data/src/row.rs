//! A row of a data set, whatever its columns.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Where a row was read: what every message about the row starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named by the caller.
    pub file: Arc<Path>,
    /// The line the row starts on, from 1; 0 in a file that has no lines.
    pub line: usize,
    /// The row's place in a JSON array or a file without lines, from 1; absent for formats with a row a line.
    pub element: Option<usize>,
}

impl Origin {
    /// The origin of a row that starts on `line` (from 1) of `file`.
    pub fn new(file: impl Into<Arc<Path>>, line: usize) -> Self {
        Self { file: file.into(), line, element: None }
    }

    /// The origin of a row of `file`, which has no lines; its number is from 1.
    pub fn row(file: impl Into<Arc<Path>>, row: usize) -> Self {
        Self { file: file.into(), line: 0, element: Some(row) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, element } = self;
        match (line, element) {
            (0, Some(row)) => write!(f, "{}: row {row}", file.display()),
            (line, Some(element)) => write!(f, "{}:{line} (element {element})", file.display()),
            (line, None) => write!(f, "{}:{line}", file.display()),
        }
    }
}

/// One row: its columns in file order, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Column name to value. CSV values are strings.
    pub fields: Map<String, Value>,
    /// Where the row was read.
    pub origin: Origin,
}

impl Row {
    /// The value of `column`; `None` where the row has no such column or its value is null.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.fields.get(column).filter(|value| !value.is_null())
    }

    /// The value of `column` as text: a string as it is, anything else as JSON.
    pub fn text(&self, column: &str) -> Option<Cow<'_, str>> {
        Some(match self.get(column)? {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }

    /// Whether `column` has something in it: not null, not blank, not an empty list or object.
    pub fn has_content(&self, column: &str) -> bool {
        match self.get(column) {
            None => false,
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(fields)) => !fields.is_empty(),
            Some(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(fields: Value) -> Row {
        let Value::Object(fields) = fields else { panic!("a row is an object") };
        Row { fields, origin: Origin::new(Path::new("rows.jsonl"), 3) }
    }

    #[test]
    fn null_is_no_value() {
        let row = row(json!({"a": null, "b": "text", "c": 3}));
        assert_eq!(row.get("a"), None);
        assert_eq!(row.text("b").as_deref(), Some("text"));
        assert_eq!(row.text("c").as_deref(), Some("3"));
        assert_eq!(row.text("d"), None);
    }

    #[test]
    fn content_is_more_than_presence() {
        let row = row(json!({"blank": " \n", "list": [], "object": {}, "zero": 0, "text": "x"}));
        for column in ["blank", "list", "object", "absent"] {
            assert!(!row.has_content(column), "{column}");
        }
        assert!(row.has_content("zero") && row.has_content("text"));
    }

    #[test]
    fn origins_read_as_file_and_line() {
        let mut origin = Origin::new(Path::new("a/rows.json"), 7);
        assert_eq!(origin.to_string(), "a/rows.json:7");
        origin.element = Some(2);
        assert_eq!(origin.to_string(), "a/rows.json:7 (element 2)");
        assert_eq!(Origin::row(Path::new("rows.parquet"), 3).to_string(), "rows.parquet: row 3");
    }
}
