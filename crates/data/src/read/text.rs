//! A file's text as a stream: checked to be UTF-8, without its byte order mark.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::row::Origin;

const MARK: &[u8] = "\u{feff}".as_bytes();
/// The bytes of the longest character.
const LONGEST: usize = 4;

/// Passes bytes on and refuses the first that is not UTF-8.
pub(super) struct Text<R> {
    inner: R,
    /// Bytes passed on or held back, the mark's included.
    offset: usize,
    line: usize,
    /// The first bytes of a character whose others have not been read, and how many.
    begun: [u8; LONGEST],
    len: usize,
    /// What was read to look for the mark and is not passed on yet.
    ahead: Vec<u8>,
    started: bool,
}

/// A byte that is not UTF-8; its place in the file, from 0, and its line.
#[derive(Debug)]
struct NotUtf8 {
    byte: usize,
    line: usize,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "not UTF-8 text (byte {})", self.byte)
    }
}

impl std::error::Error for NotUtf8 {}

/// A failure to read, with what [`Text`] found named as such.
pub(super) fn failed(error: io::Error, file: &Arc<Path>) -> Error {
    match error.get_ref().and_then(|error| error.downcast_ref::<NotUtf8>()) {
        Some(NotUtf8 { byte, line }) => {
            Error::NotUtf8 { origin: Origin::new(file.clone(), *line), byte: *byte }
        }
        None => Error::Read { path: file.to_path_buf(), source: error },
    }
}

impl<R: Read> Text<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, offset: 0, line: 1, begun: [0; LONGEST], len: 0, ahead: Vec::new(), started: false }
    }

    fn start(&mut self) -> io::Result<()> {
        self.started = true;
        let mut mark = [0; MARK.len()];
        let mut found = 0;
        while found < mark.len() {
            match self.inner.read(&mut mark[found..])? {
                0 => break,
                read => found += read,
            }
        }
        match mark[..found] == *MARK {
            true => self.offset = found,
            false => self.ahead = mark[..found].to_vec(),
        }
        Ok(())
    }

    fn refuse<T>(&self, byte: usize, before: &[u8]) -> io::Result<T> {
        let line = self.line + super::newlines(before);
        Err(io::Error::new(io::ErrorKind::InvalidData, NotUtf8 { byte, line }))
    }

    /// Checks what follows the bytes that were checked.
    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while self.len > 0 {
            let Some((&byte, behind)) = rest.split_first() else { break };
            self.begun[self.len] = byte;
            self.len += 1;
            rest = behind;
            match std::str::from_utf8(&self.begun[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() && self.len < LONGEST => {}
                Err(_) => {
                    return self.refuse(self.offset - (self.len - 1 - (bytes.len() - rest.len() - 1)), &[]);
                }
            }
        }
        let begin = self.offset + bytes.len() - rest.len();
        if self.len == 0
            && let Err(error) = std::str::from_utf8(rest)
        {
            let (valid, broken) = rest.split_at(error.valid_up_to());
            if error.error_len().is_some() {
                return self.refuse(begin + valid.len(), &bytes[..bytes.len() - rest.len() + valid.len()]);
            }
            self.begun[..broken.len()].copy_from_slice(broken);
            self.len = broken.len();
        }
        self.line += super::newlines(bytes);
        self.offset += bytes.len();
        Ok(())
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.started {
            self.start()?;
        }
        let read = match self.ahead.is_empty() {
            true => self.inner.read(buffer)?,
            false => {
                let read = buffer.len().min(self.ahead.len());
                buffer[..read].copy_from_slice(&self.ahead[..read]);
                self.ahead.drain(..read);
                read
            }
        };
        if read == 0 && self.len > 0 && !buffer.is_empty() {
            return self.refuse(self.offset - self.len, &[]);
        }
        self.check(&buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.1.min(buffer.len()).min(self.0.len());
            buffer[..read].copy_from_slice(&self.0[..read]);
            self.0 = &self.0[read..];
            Ok(read)
        }
    }

    fn through(bytes: &[u8], piece: usize) -> Result<String, (usize, usize)> {
        let mut text = Vec::new();
        match Text::new(Trickle(bytes, piece)).read_to_end(&mut text) {
            Ok(_) => Ok(String::from_utf8(text).unwrap()),
            Err(error) => {
                let found = error.get_ref().unwrap().downcast_ref::<NotUtf8>().unwrap();
                Err((found.byte, found.line))
            }
        }
    }

    #[test]
    fn text_passes_in_pieces_of_any_size() {
        let text = "a\u{feff}é\n漢字 🦀\r\nß";
        for piece in 1..12 {
            assert_eq!(through(text.as_bytes(), piece).unwrap(), text);
            let marked = format!("\u{feff}{text}");
            assert_eq!(through(marked.as_bytes(), piece).unwrap(), text);
            assert_eq!(through(b"", piece).unwrap(), "");
            assert_eq!(through(b"ab", piece).unwrap(), "ab");
        }
    }

    #[test]
    fn the_first_byte_that_is_not_text_is_named() {
        let cases: [(&[u8], usize, usize); 6] = [
            (b"\xe9", 0, 1),
            (b"abcd\n\xe9bc", 5, 2),
            (b"a\n\n\xe6\xbc\xa2\xff", 6, 3),
            // Begun and not ended: at the end, and before another character.
            (b"a\n\xe6\xbc", 2, 2),
            (b"a\n\xe6\xbcx\n", 2, 2),
            (b"\xef\xbb\xbfa\n\xf0\x9f\xa6\n", 5, 2),
        ];
        for (bytes, byte, line) in cases {
            let whole = bytes.strip_prefix(MARK).unwrap_or(bytes);
            let valid = std::str::from_utf8(whole).unwrap_err().valid_up_to();
            assert_eq!(valid + bytes.len() - whole.len(), byte);
            for piece in 1..10 {
                assert_eq!(through(bytes, piece), Err((byte, line)), "{bytes:?} in pieces of {piece}");
            }
        }
    }
}
