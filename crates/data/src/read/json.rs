//! A JSON array of objects, read element by element: each row knows its line, and no more than one is held.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::{jsonl::JsonLines, malformed, row_of, text};
use crate::error::{Error, Result};
use crate::row::{Origin, Row};

/// The rows of an array; or, if its first character is another, of JSON lines.
pub(super) fn rows<'a, R: Read + 'a>(
    reader: R,
    file: Arc<Path>,
) -> Result<Box<dyn Iterator<Item = Result<Row>> + 'a>> {
    let mut array = Array { reader: BufReader::new(reader), line: 1, element: 1, place: Place::First, file };
    // Lines that are blank so far belong to either; the lines' reader has to count them too.
    let mut blank = 0;
    loop {
        match array.peek()? {
            Some(byte) if byte.is_ascii_whitespace() => {
                blank += usize::from(byte == b'\n');
                array.advance(byte);
            }
            Some(b'[') => {
                array.advance(b'[');
                return Ok(Box::new(array));
            }
            _ => return Ok(Box::new(JsonLines::behind(array.reader, array.file, blank))),
        }
    }
}

/// Where in the array the reader stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Before the first element, or the end of an empty array.
    First,
    /// Before an element.
    Before,
    /// Behind an element.
    Behind,
    /// Behind the array.
    End,
}

struct Array<R> {
    reader: BufReader<R>,
    /// Of the next byte.
    line: usize,
    /// The number of the element being read, from 1.
    element: usize,
    place: Place,
    file: Arc<Path>,
}

const NO_END: &str = "the file ends inside the array, `]` is missing";

impl<R: Read> Array<R> {
    /// The next byte.
    fn peek(&mut self) -> Result<Option<u8>> {
        match self.reader.fill_buf() {
            Ok(bytes) => Ok(bytes.first().copied()),
            Err(error) => Err(text::failed(error, &self.file)),
        }
    }

    /// Goes behind the next byte, which is this one.
    fn advance(&mut self, byte: u8) {
        self.line += usize::from(byte == b'\n');
        self.reader.consume(1);
    }

    fn step(&mut self) -> Result<Option<Row>> {
        loop {
            let Some(byte) = self.peek()? else {
                return match self.place {
                    Place::End => Ok(None),
                    _ => Err(self.malformed(NO_END)),
                };
            };
            match (byte, self.place) {
                (byte, _) if byte.is_ascii_whitespace() => self.advance(byte),
                (b']', Place::First | Place::Behind) => {
                    self.advance(byte);
                    self.place = Place::End;
                }
                (b',', Place::Behind) => {
                    self.advance(byte);
                    self.place = Place::Before;
                    self.element += 1;
                }
                (_, Place::First | Place::Before) => {
                    self.place = Place::Behind;
                    return self.row().map(Some);
                }
                (_, Place::Behind) => return Err(self.malformed("expected `,` or `]` behind the element")),
                (_, Place::End) => {
                    return Err(Error::MalformedRow {
                        origin: Origin::new(self.file.clone(), self.line),
                        reason: "text behind the array's `]`".into(),
                    });
                }
            }
        }
    }

    /// The element that begins here.
    fn row(&mut self) -> Result<Row> {
        let origin = self.origin();
        let mut text = Vec::new();
        // Brackets that are open, and whether a string is; a number or a word ends before what follows it.
        let (mut open, mut quoted, mut escaped) = (0usize, false, false);
        while let Some(byte) = self.peek()? {
            let ends = matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
            if ends && open == 0 && !quoted && !text.is_empty() {
                break;
            }
            text.push(byte);
            self.advance(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                _ => continue,
            }
            if open == 0 && !quoted {
                break;
            }
        }
        match serde_json::from_slice(&text) {
            Ok(value) => row_of(value, origin),
            Err(error) => Err(malformed(&error, origin)),
        }
    }

    fn origin(&self) -> Origin {
        Origin { element: Some(self.element), ..Origin::new(self.file.clone(), self.line) }
    }

    fn malformed(&self, reason: &str) -> Error {
        Error::MalformedRow { origin: self.origin(), reason: reason.into() }
    }
}

impl<R: Read> Iterator for Array<R> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        self.step().transpose()
    }
}
