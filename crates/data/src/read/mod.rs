//! Data files to rows: JSON lines, a JSON array, CSV.

mod csv;
mod json;
mod jsonl;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::row::{Origin, Row};

/// Reads all rows of a file, in file order.
///
/// The kind of file is told by its extension: `.jsonl` and `.ndjson` hold an object a line, `.json` an array of
/// objects (or JSON lines after all, told by the first character that is not blank), `.csv` a header and
/// comma-separated rows. A byte order mark is skipped, and so are blank lines. At least one row is returned.
///
/// # Errors
///
/// A file that is not there, of unknown kind, not UTF-8 or without rows; and the first row that is malformed,
/// is not an object, or has not as many fields as the CSV header. The message starts with file and line.
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let read = reader(path).ok_or_else(|| Error::UnknownKind { path: path.into() })?;
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::FileNotFound { path: path.into() },
        _ => Error::Read { path: path.into(), source },
    })?;
    let file: Arc<Path> = path.into();
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = 1 + newlines(&bytes[..e.valid_up_to()]);
        Error::NotUtf8 { origin: Origin::new(file.clone(), line), byte: e.valid_up_to() }
    })?;
    let rows = read(text.strip_prefix('\u{feff}').unwrap_or(text), &file)?;
    if rows.is_empty() {
        return Err(Error::NoRows { path: path.into() });
    }
    Ok(rows)
}

/// Whether a file holds rows, by its extension.
pub fn holds_rows(path: &Path) -> bool {
    reader(path).is_some()
}

type Reader = fn(&str, &Arc<Path>) -> Result<Vec<Row>>;

fn reader(path: &Path) -> Option<Reader> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => Some(jsonl::rows),
        "json" => Some(json::rows),
        "csv" => Some(csv::rows),
        _ => None,
    }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// A parsed value as a row.
fn row_of(value: Value, origin: Origin) -> Result<Row> {
    let found = match value {
        Value::Object(fields) => return Ok(Row { fields, origin }),
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
    };
    Err(Error::NotAnObject { origin, found })
}

/// A JSON error as a malformed row: `start` is where the parsed text starts.
fn malformed(error: &serde_json::Error, start: Origin) -> Error {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or_default();
    let line = start.line + error.line().saturating_sub(1);
    Error::MalformedRow {
        origin: Origin { line, ..start },
        reason: format!("{reason} at column {}", error.column()),
    }
}

#[cfg(test)]
mod tests;
