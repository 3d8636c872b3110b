//! Everything that can be wrong with data, each with the place it is wrong at.

use std::path::PathBuf;

use crate::columns::MissingColumns;
use crate::row::Origin;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a data file and a batch of tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    #[error("{}: no such file", .path.display())]
    FileNotFound {
        /// The file asked for.
        path: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file's extension is none that a reader exists for.
    #[error("{}: the kind of file is told by its extension: .jsonl, .ndjson, .json, .csv, .tsv or .parquet, all but the last also with .gz or .zst behind it", .path.display())]
    UnknownKind {
        /// The file asked for.
        path: PathBuf,
    },
    /// A pattern of file names that gives no files.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is not of the kind that its extension says.
    #[error("{}: cannot be read: {reason}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What its reader said.
        reason: String,
    },
    /// A byte sequence that is not UTF-8.
    #[error("{origin}: not UTF-8 text (byte {byte} of the file)")]
    NotUtf8 {
        /// The line of the first such byte.
        origin: Origin,
        /// Its offset in the file, from 0.
        byte: usize,
    },
    /// A data file without a single row.
    #[error("{} holds no rows", .path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// A row, or the array around it, that is not well-formed.
    #[error("{origin}: malformed row: {reason}")]
    MalformedRow {
        /// Where reading stopped.
        origin: Origin,
        /// What the parser expected.
        reason: String,
    },
    /// A row that is a number, a string, a list, ... instead of an object.
    #[error("{origin}: a row must be an object with named columns, this one is {found}")]
    NotAnObject {
        /// The row.
        origin: Origin,
        /// What the row is, in words.
        found: &'static str,
    },
    /// A CSV row with more or fewer fields than the header.
    #[error("{origin}: fields in the row: {found}, in the header: {expected}")]
    FieldCount {
        /// The row.
        origin: Origin,
        /// Columns of the header.
        expected: u64,
        /// Fields of the row.
        found: u64,
    },
    /// A CSV header in which two columns have one name.
    #[error("{origin}: the header names column `{column}` twice")]
    DuplicateColumn {
        /// The header.
        origin: Origin,
        /// The name that occurs twice.
        column: String,
    },
    /// A template set's name that is not known.
    #[error("no template set `{name}`; did you mean `{nearest}`? Known sets: {}; a file of templates ends in .toml or .yaml", .known.join(", "))]
    UnknownTemplates {
        /// The name asked for.
        name: String,
        /// The known name nearest to it.
        nearest: String,
        /// Every known name.
        known: Vec<String>,
    },
    /// A template set's file that cannot be understood.
    #[error("template set `{set}`: {reason}")]
    TemplateSet {
        /// The set's name or file.
        set: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A template that does not compile.
    #[error("template `{template}`: {reason}")]
    TemplateSyntax {
        /// The template's name.
        template: String,
        /// What the template engine said, with part and line.
        reason: String,
    },
    /// Columns that rows lack, all of them.
    #[error(transparent)]
    MissingColumns(MissingColumns),
    /// A row that a template cannot be filled from.
    #[error("{origin}: template `{template}`: {reason}")]
    Render {
        /// The row.
        origin: Origin,
        /// The template's name.
        template: String,
        /// What the template engine said.
        reason: String,
    },
    /// A row whose prompt or target comes out empty.
    #[error("{origin}: the {part} that template `{template}` makes of this row is empty")]
    EmptyText {
        /// The row.
        origin: Origin,
        /// The template's name.
        template: String,
        /// `prompt` or `target`.
        part: &'static str,
    },
    /// A row that no template of the set is for.
    #[error("{origin}: no template of set `{set}` is for this row")]
    NoTemplate {
        /// The row.
        origin: Origin,
        /// The set's name.
        set: String,
    },
    /// A row that has nothing in any of the reference columns.
    #[error("{origin}: no reference: nothing in {}", list(.columns))]
    NoReference {
        /// The row.
        origin: Origin,
        /// The reference columns.
        columns: Vec<String>,
    },
    /// A fraction that does not lie between 0 and 1.
    #[error("a held-out fraction lies between 0 and 1 (both excluded), not at {fraction}")]
    Fraction {
        /// The fraction asked for.
        fraction: f64,
    },
    /// Batch options that give no batches.
    #[error("no batches: {reason}")]
    NoBatches {
        /// Why.
        reason: &'static str,
    },
    /// A tokenizer file that cannot be used.
    #[error("{}: not a usable tokenizer: {reason}", .path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Line breaks were to be kept, and the vocabulary lacks what stands for them.
    #[error("line breaks cannot be kept: the vocabulary has no `{token}`; newlines = \"blank\" does without")]
    NoSentinel {
        /// The token.
        token: &'static str,
    },
    /// A text that the tokenizer refuses.
    #[error("text starting with {start:?} cannot be tokenised: {reason}")]
    Encode {
        /// The first characters of the text.
        start: String,
        /// What the tokenizer said.
        reason: String,
    },
    /// Ids that the tokenizer makes no text of.
    #[error("tokens cannot be made text of: {reason}")]
    Decode {
        /// What the tokenizer said.
        reason: String,
    },
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
}
