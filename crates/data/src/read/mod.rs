//! Data files to rows, one after the other: JSON lines, a JSON array, CSV, TSV, Parquet; compressed or not.

mod delimited;
mod json;
mod jsonl;
mod parquet;
mod source;
mod text;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use self::delimited::Delimited;
use self::jsonl::JsonLines;
use self::parquet::Parquet;
pub use self::source::Source;
use self::text::Text;
use crate::error::{Error, Result};
use crate::row::{Origin, Row};

/// The rows of a file, in file order. No more than one is held, and of a Parquet file no more than a group of rows.
///
/// It ends with the first error. A file without rows is one.
pub struct Rows {
    rows: Box<dyn Iterator<Item = Result<Row>>>,
    path: PathBuf,
    any: bool,
    failed: bool,
}

impl Rows {
    /// Opens a file.
    ///
    /// The kind of file is told by its extension: `.jsonl` and `.ndjson` hold an object a line, `.json` an array of
    /// objects (or JSON lines after all, told by the first character that is not blank), `.csv` and `.tsv` a header and
    /// rows with commas or tabs between their values, `.parquet` what its name says. Behind one of the others, `.gz` and
    /// `.zst` say how it is compressed. A byte order mark is skipped, and so are blank lines.
    ///
    /// # Errors
    ///
    /// A file that is not there, or of unknown kind. The rows give: a file that is not UTF-8 or without rows; and a row
    /// that is malformed, is not an object, or has not as many fields as the header. The message starts with file and
    /// line.
    pub fn open(path: &Path) -> Result<Self> {
        let (kind, compression) = kind(path).ok_or_else(|| Error::UnknownKind { path: path.into() })?;
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => Error::FileNotFound { path: path.into() },
            _ => Error::Read { path: path.into(), source },
        };
        let file = File::open(path).map_err(failed)?;
        let name: Arc<Path> = path.into();
        let rows: Box<dyn Iterator<Item = Result<Row>>> = match kind {
            Kind::Parquet => Box::new(Parquet::new(file, name)?),
            kind => {
                let bytes: Box<dyn Read> = match compression {
                    Compression::None => Box::new(file),
                    Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
                    Compression::Zstd => Box::new(zstd::Decoder::new(file).map_err(failed)?),
                };
                let text = Text::new(bytes);
                match kind {
                    Kind::Json => json::rows(text, name)?,
                    Kind::Delimited(delimiter) => Box::new(Delimited::new(text, name, delimiter)),
                    _ => Box::new(JsonLines::new(text, name)),
                }
            }
        };
        Ok(Self { rows, path: path.into(), any: false, failed: false })
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        if self.failed {
            return None;
        }
        let row = match self.rows.next() {
            None if !self.any => Some(Err(Error::NoRows { path: self.path.clone() })),
            row => row,
        };
        self.any = true;
        self.failed = row.as_ref().is_some_and(Result::is_err);
        row
    }
}

/// All rows of a file: [`Rows::open`].
///
/// # Errors
///
/// Those of opening it, and of its rows the first.
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    Rows::open(path)?.collect()
}

/// Whether a file holds rows, by its extension.
pub fn holds_rows(path: &Path) -> bool {
    kind(path).is_some()
}

/// The files that a name stands for: that of a file, or a pattern with `*`, `?`, `[a-z]` or `**`, whose files come in
/// the order of their names.
///
/// # Errors
///
/// A pattern that is none, or that no file matches.
pub fn files(name: &Path) -> Result<Vec<PathBuf>> {
    let pattern = name.to_string_lossy();
    if name.exists() || !pattern.contains(['*', '?', '[']) {
        return Ok(vec![name.into()]);
    }
    let invalid = |reason: String| Error::Pattern { pattern: pattern.clone().into_owned(), reason };
    let found = glob::glob(&pattern).map_err(|error| invalid(error.to_string()))?;
    let mut found = found
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| Error::Read { path: error.path().into(), source: error.into() })?;
    // What systems and editors leave beside files of rows starts with a dot.
    let hidden = |name: &Path| name.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    found.retain(|path| !path.is_dir() && (hidden(Path::new(&*pattern)) || !hidden(path)));
    match found.is_empty() {
        true => Err(invalid("no file has such a name".into())),
        false => Ok(found),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    JsonLines,
    Json,
    Delimited(u8),
    Parquet,
}

#[derive(Clone, Copy)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

fn kind(path: &Path) -> Option<(Kind, Compression)> {
    let extension = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
    let compression = match extension(path)?.as_str() {
        "gz" => Compression::Gzip,
        "zst" => Compression::Zstd,
        _ => Compression::None,
    };
    let kind = match compression {
        Compression::None => extension(path)?,
        Compression::Gzip | Compression::Zstd => extension(Path::new(path.file_stem()?))?,
    };
    match (kind.as_str(), compression) {
        ("jsonl" | "ndjson", _) => Some((Kind::JsonLines, compression)),
        ("json", _) => Some((Kind::Json, compression)),
        ("csv", _) => Some((Kind::Delimited(b','), compression)),
        ("tsv", _) => Some((Kind::Delimited(b'\t'), compression)),
        ("parquet", Compression::None) => Some((Kind::Parquet, compression)),
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
