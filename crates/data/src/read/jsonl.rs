//! JSON lines: an object a line.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::{malformed, row_of, text};
use crate::error::Result;
use crate::row::{Origin, Row};

pub(super) struct JsonLines<R> {
    reader: BufReader<R>,
    file: Arc<Path>,
    /// The last line that was read.
    line: usize,
    buffer: String,
}

impl<R: Read> JsonLines<R> {
    pub fn new(reader: R, file: Arc<Path>) -> Self {
        Self::behind(BufReader::new(reader), file, 0)
    }

    /// The lines that follow `line` lines.
    pub fn behind(reader: BufReader<R>, file: Arc<Path>, line: usize) -> Self {
        Self { reader, file, line, buffer: String::new() }
    }
}

impl<R: Read> Iterator for JsonLines<R> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        loop {
            self.buffer.clear();
            match self.reader.read_line(&mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(text::failed(error, &self.file))),
            }
            if !self.buffer.trim().is_empty() {
                break;
            }
        }
        let origin = Origin::new(self.file.clone(), self.line);
        let text = self.buffer.trim_end_matches(['\n', '\r']);
        let value = serde_json::from_str(text).map_err(|error| malformed(&error, origin.clone()));
        Some(value.and_then(|value| row_of(value, origin)))
    }
}
