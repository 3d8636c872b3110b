//! Values with a delimiter between them and a header above them.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use csv::{ErrorKind, Position, Reader, ReaderBuilder, StringRecord};
use serde_json::Value;

use super::text;
use crate::error::{Error, Result};
use crate::row::{Origin, Row};

pub(super) struct Delimited<R> {
    reader: Reader<Records<R>>,
    /// None until it was read.
    header: Option<StringRecord>,
    record: StringRecord,
    file: Arc<Path>,
}

impl<R: Read> Delimited<R> {
    pub fn new(reader: R, file: Arc<Path>, delimiter: u8) -> Self {
        let records = Records::new(reader, delimiter);
        let reader = ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(records);
        Self { reader, header: None, record: StringRecord::new(), file }
    }

    /// Reads a record; false at the end.
    fn read(&mut self) -> Result<bool> {
        let read = self.reader.read_record(&mut self.record);
        // The parser takes the rest of the file for a field whose quote is never closed, without a word.
        if let Some(line) = self.reader.get_ref().unclosed {
            let reason = "the quote that a field of this row opens is never closed".into();
            return Err(Error::MalformedRow { origin: self.at(line), reason });
        }
        read.map_err(|error| {
            let (reason, line) = (error.to_string(), self.line(error.position().cloned().as_ref()));
            let origin = self.at(line);
            match error.into_kind() {
                ErrorKind::UnequalLengths { expected_len: expected, len: found, .. } => {
                    Error::FieldCount { origin, expected, found }
                }
                ErrorKind::Io(error) => text::failed(error, &self.file),
                _ => Error::MalformedRow { origin, reason },
            }
        })
    }

    /// The line of a record; records are asked for in file order.
    fn line(&mut self, position: Option<&Position>) -> usize {
        self.reader.get_mut().line_of(position.map_or(0, Position::byte))
    }

    fn at(&self, line: usize) -> Origin {
        Origin::new(self.file.clone(), line)
    }

    fn row(&mut self) -> Result<Option<Row>> {
        if self.header.is_none() {
            if !self.read()? {
                return Ok(None);
            }
            let header = self.record.clone();
            let mut seen = HashSet::new();
            if let Some(column) = header.iter().find(|&column| !seen.insert(column)) {
                let line = self.line(header.position());
                return Err(Error::DuplicateColumn { origin: self.at(line), column: column.into() });
            }
            self.header = Some(header);
        }
        if !self.read()? {
            return Ok(None);
        }
        let line = self.line(self.record.position().cloned().as_ref());
        let header = self.header.iter().flatten();
        let fields = header.zip(&self.record).map(|(k, v)| (k.into(), Value::from(v))).collect();
        Ok(Some(Row { fields, origin: self.at(line) }))
    }
}

impl<R: Read> Iterator for Delimited<R> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        self.row().transpose()
    }
}

/// Passes bytes on and notes where records begin. The parser's own count of lines is that of the end of the record before,
/// one too low behind blank lines and behind `\r\n`.
struct Records<R> {
    inner: R,
    delimiter: u8,
    /// Byte and line of each record that begins in what the parser was given and has not been asked for.
    starts: VecDeque<(u64, usize)>,
    at: u64,
    line: usize,
    /// The next byte begins a record, if it is not the end of a blank line.
    between: bool,
    /// The line of the quote that is open.
    opened: Option<usize>,
    field_starts: bool,
    /// Where the file has ended: the line of the quote that was open.
    unclosed: Option<usize>,
}

impl<R> Records<R> {
    fn new(inner: R, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            starts: VecDeque::new(),
            at: 0,
            line: 1,
            between: true,
            opened: None,
            field_starts: true,
            unclosed: None,
        }
    }

    fn note(&mut self, byte: u8) {
        let ends = matches!(byte, b'\n' | b'\r') && self.opened.is_none();
        if self.between && !ends {
            self.starts.push_back((self.at, self.line));
        }
        self.between = ends;
        match (byte, self.opened) {
            // The second quote of an escaped pair opens the field again.
            (b'"', Some(_)) => (self.opened, self.field_starts) = (None, true),
            (b'"', None) if self.field_starts => self.opened = Some(self.line),
            (_, Some(_)) => {}
            (_, None) => self.field_starts = byte == self.delimiter || ends,
        }
        self.line += usize::from(byte == b'\n');
        self.at += 1;
    }

    /// The line of the record at or behind this byte.
    fn line_of(&mut self, byte: u64) -> usize {
        while self.starts.len() > 1 && self.starts[0].0 < byte {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |start| start.1)
    }
}

impl<R: Read> Read for Records<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        buffer[..read].iter().for_each(|&byte| self.note(byte));
        if read == 0 && !buffer.is_empty() {
            self.unclosed = self.opened;
        }
        Ok(read)
    }
}
