//! Comma-separated values with a header.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use csv::{ErrorKind, Reader, StringRecord};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::row::{Origin, Row};

pub(super) fn rows(text: &str, file: &Arc<Path>) -> Result<Vec<Row>> {
    let at = |line: usize| Origin::new(file.clone(), line);
    if let Some(line) = unclosed_quote(text) {
        let reason = "the quote that a field of this row opens is never closed".into();
        return Err(Error::MalformedRow { origin: at(line), reason });
    }
    let failed = |error: csv::Error| {
        let line = error.position().map_or(1, |position| position.line() as usize);
        match *error.kind() {
            ErrorKind::UnequalLengths { expected_len: expected, len: found, .. } => {
                Error::FieldCount { origin: at(line), expected, found }
            }
            _ => Error::MalformedRow { origin: at(line), reason: error.to_string() },
        }
    };

    let mut reader = Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(failed)?.clone();
    let mut seen = HashSet::new();
    if let Some(column) = header.iter().find(|&column| !seen.insert(column)) {
        let line = header.position().map_or(1, |position| position.line() as usize);
        return Err(Error::DuplicateColumn { origin: at(line), column: column.into() });
    }

    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        let fields = header.iter().zip(&record).map(|(k, v)| (k.into(), Value::from(v))).collect();
        let line = record.position().map_or(1, |position| position.line() as usize);
        rows.push(Row { fields, origin: at(line) });
    }
    Ok(rows)
}

/// The line of a quote that opens a field and is never closed. The parser takes the rest of the file for that
/// field without a word.
fn unclosed_quote(text: &str) -> Option<usize> {
    let (mut line, mut opened, mut field_starts) = (1, None, true);
    for byte in text.bytes() {
        line += usize::from(byte == b'\n');
        match (byte, opened) {
            // The second quote of an escaped pair opens the field again.
            (b'"', Some(_)) => (opened, field_starts) = (None, true),
            (b'"', None) if field_starts => opened = Some(line),
            (_, Some(_)) => {}
            (_, None) => field_starts = matches!(byte, b',' | b'\n' | b'\r'),
        }
    }
    opened
}
