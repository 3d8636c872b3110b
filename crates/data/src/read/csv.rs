//! Comma-separated values with a header.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use csv::{ErrorKind, Position, Reader, StringRecord};
use serde_json::Value;

use super::newlines;
use crate::error::{Error, Result};
use crate::row::{Origin, Row};

pub(super) fn rows(text: &str, file: &Arc<Path>) -> Result<Vec<Row>> {
    let at = |line: usize| Origin::new(file.clone(), line);
    if let Some(line) = unclosed_quote(text) {
        let reason = "the quote that a field of this row opens is never closed".into();
        return Err(Error::MalformedRow { origin: at(line), reason });
    }
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };

    let mut reader = Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| failed(&error, at(1)))?.clone();
    let mut seen = HashSet::new();
    if let Some(column) = header.iter().find(|&column| !seen.insert(column)) {
        return Err(Error::DuplicateColumn {
            origin: at(lines.of(header.position())),
            column: column.into(),
        });
    }

    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(rows),
            Ok(true) => {}
            Err(error) => return Err(failed(&error, at(lines.of(error.position())))),
        }
        let fields = header.iter().zip(&record).map(|(k, v)| (k.into(), Value::from(v))).collect();
        rows.push(Row { fields, origin: at(lines.of(record.position())) });
    }
}

fn failed(error: &csv::Error, origin: Origin) -> Error {
    match *error.kind() {
        ErrorKind::UnequalLengths { expected_len: expected, len: found, .. } => {
            Error::FieldCount { origin, expected, found }
        }
        _ => Error::MalformedRow { origin, reason: error.to_string() },
    }
}

/// Counts lines up to a record. The parser's own count is that of the end of the record before, one too low behind
/// blank lines and behind `\r\n`.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of a record; records are asked for in file order.
    fn of(&mut self, position: Option<&Position>) -> usize {
        let start = position.map_or(0, |position| position.byte() as usize).max(self.at);
        let blank = self.text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += newlines(&self.text[self.at..start + blank]);
        self.at = start + blank;
        self.line
    }
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
