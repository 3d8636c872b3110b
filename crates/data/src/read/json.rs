//! A JSON array of objects, read element by element so that each row knows its line.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Deserializer, Value};

use super::{jsonl, malformed, newlines, row_of};
use crate::error::{Error, Result};
use crate::row::{Origin, Row};

pub(super) fn rows(text: &str, file: &Arc<Path>) -> Result<Vec<Row>> {
    match text.trim_start().as_bytes().first() {
        Some(b'[') => Array { text, at: 0, line: 1, element: 1, file }.rows(),
        _ => jsonl::rows(text, file),
    }
}

struct Array<'a> {
    text: &'a str,
    /// Bytes read so far.
    at: usize,
    /// The line of byte `at`.
    line: usize,
    /// The number of the element being read, from 1.
    element: usize,
    file: &'a Arc<Path>,
}

impl Array<'_> {
    fn rows(mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.skip_blanks();
        self.advance(1);
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.advance(1);
            return self.end(rows);
        }
        loop {
            self.skip_blanks();
            rows.push(self.row()?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.advance(1),
                Some(b']') => {
                    self.advance(1);
                    return self.end(rows);
                }
                Some(_) => return Err(self.malformed("expected `,` or `]` behind the element")),
                None => return Err(self.malformed("the file ends inside the array, `]` is missing")),
            }
            self.element += 1;
        }
    }

    fn row(&mut self) -> Result<Row> {
        let origin = self.origin();
        let mut rest = &self.text[self.at..];
        if !rest.starts_with(['{', '[', '"']) {
            // A number or a word does not end by itself, and the stream below wants a blank behind it.
            let end = rest.find(|c: char| c == ',' || c == ']' || c.is_whitespace());
            rest = &rest[..end.unwrap_or(rest.len())];
        }
        let mut values = Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let length = values.byte_offset();
                self.advance(length);
                row_of(value, origin)
            }
            Some(Err(error)) => Err(malformed(&error, origin)),
            None => Err(self.malformed("the file ends inside the array, `]` is missing")),
        }
    }

    fn end(mut self, rows: Vec<Row>) -> Result<Vec<Row>> {
        self.skip_blanks();
        match self.peek() {
            None => Ok(rows),
            Some(_) => Err(Error::MalformedRow {
                origin: Origin::new(self.file.clone(), self.line),
                reason: "text behind the array's `]`".into(),
            }),
        }
    }

    fn origin(&self) -> Origin {
        Origin { element: Some(self.element), ..Origin::new(self.file.clone(), self.line) }
    }

    fn malformed(&self, reason: &str) -> Error {
        Error::MalformedRow { origin: self.origin(), reason: reason.into() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.line += newlines(&self.text.as_bytes()[self.at..self.at + bytes]);
        self.at += bytes;
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.advance(rest.len() - rest.trim_start().len());
    }
}
