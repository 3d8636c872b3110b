//! Parquet: columns of rows, in groups.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;

use super::row_of;
use crate::error::{Error, Result};
use crate::row::{Origin, Row};

pub(super) struct Parquet {
    rows: RowIter<'static>,
    file: Arc<Path>,
    /// Rows that were read.
    read: usize,
}

impl Parquet {
    pub fn new(file: File, path: Arc<Path>) -> Result<Self> {
        let broken = |error: parquet::errors::ParquetError| Error::Broken {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        Ok(Self { rows: RowIter::from_file_into(Box::new(reader)), file: path, read: 0 })
    }
}

impl Iterator for Parquet {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let row = self.rows.next()?;
        self.read += 1;
        let origin = Origin::row(self.file.clone(), self.read);
        Some(match row {
            Ok(row) => row_of(row.to_json_value(), origin),
            Err(error) => Err(Error::MalformedRow { origin, reason: error.to_string() }),
        })
    }
}
