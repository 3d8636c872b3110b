//! Rows of one or several files, under the names that templates want.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Rows, files};
use crate::error::Result;
use crate::row::Row;

/// Files of rows, one after the other.
#[derive(Debug, Clone)]
pub struct Source {
    files: Vec<PathBuf>,
    /// New name to the file's.
    columns: BTreeMap<String, String>,
}

impl Source {
    /// The files that `name` stands for, see [`files`]; their columns renamed: `columns` has the new name and the files'
    /// own. Where a row has both, its own value under the new name gives way.
    ///
    /// # Errors
    ///
    /// Those of [`files`].
    pub fn new(name: &Path, columns: &BTreeMap<String, String>) -> Result<Self> {
        Ok(Self { files: files(name)?, columns: columns.clone() })
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The rows of all files, in order; [`Rows`] says how each is read, and what its errors are. Nothing follows one.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row>> {
        let mut failed = false;
        let rows = self.files.iter().flat_map(|file| match Rows::open(file) {
            Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = Result<Row>>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        let rows = rows.map(|row| row.map(|row| self.renamed(row)));
        rows.take_while(move |row| !std::mem::replace(&mut failed, row.is_err()))
    }

    fn renamed(&self, mut row: Row) -> Row {
        // All are taken out first: two columns may change names with each other.
        let columns = self.columns.iter();
        let found: Vec<_> =
            columns.filter_map(|(new, old)| Some((new, row.fields.get(old)?.clone()))).collect();
        for old in self.columns.values() {
            row.fields.shift_remove(old);
        }
        for (new, value) in found {
            row.fields.insert(new.clone(), value);
        }
        row
    }
}
