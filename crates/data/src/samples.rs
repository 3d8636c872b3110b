//! Rows of tokens, in memory or in a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// A row as the model takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The prompt's ids, the end token last.
    pub source: Vec<u32>,
    /// The target's ids, the end token last.
    pub target: Vec<u32>,
}

impl Sample {
    /// `(source, target)` lengths in tokens, as [`Batches::new`](crate::Batches::new) takes them.
    pub fn lengths(&self) -> (usize, usize) {
        (self.source.len(), self.target.len())
    }
}

/// Rows of tokens. Of those in a file, the lengths alone are held, and a batch is read when it is wanted.
#[derive(Debug)]
pub struct Samples(Place);

#[derive(Debug)]
enum Place {
    Held(Vec<Sample>),
    Filed(Filed),
}

/// Rows one behind the other, each its source's ids and then its target's, as little-endian u32.
#[derive(Debug)]
pub(crate) struct Filed {
    path: PathBuf,
    file: Mutex<File>,
    /// Of each row: the byte at which it starts, and its lengths.
    rows: Vec<(u64, u32, u32)>,
}

impl Filed {
    /// The rows of these lengths, which start with the file.
    pub fn new(path: PathBuf, file: File, lengths: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut start = 0;
        let rows = lengths.into_iter().map(|(source, target)| {
            let row = (start, source, target);
            start += 4 * (u64::from(source) + u64::from(target));
            row
        });
        let rows = rows.collect();
        Self { path, file: Mutex::new(file), rows }
    }

    fn read(&self, row: usize) -> std::io::Result<Sample> {
        let (start, source, target) = self.rows[row];
        let mut bytes = vec![0; 4 * (source as usize + target as usize)];
        // Nothing is left half done by one who panics.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        let (source, target) = words.split_at(source as usize);
        let ids = |words: &[[u8; 4]]| words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(Sample { source: ids(source), target: ids(target) })
    }
}

impl From<Filed> for Samples {
    fn from(rows: Filed) -> Self {
        Self(Place::Filed(rows))
    }
}

impl From<Vec<Sample>> for Samples {
    fn from(rows: Vec<Sample>) -> Self {
        Self(Place::Held(rows))
    }
}

impl Default for Samples {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl Samples {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Held(rows) => rows.len(),
            Place::Filed(filed) => filed.rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `(source, target)` lengths of a row, in tokens.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn lengths(&self, row: usize) -> (usize, usize) {
        match &self.0 {
            Place::Held(rows) => rows[row].lengths(),
            Place::Filed(filed) => {
                let (_, source, target) = filed.rows[row];
                (source as usize, target as usize)
            }
        }
    }

    /// The lengths of all rows.
    pub fn all_lengths(&self) -> Vec<(usize, usize)> {
        (0..self.len()).map(|row| self.lengths(row)).collect()
    }

    /// Some rows, in the order in which they are named.
    ///
    /// # Errors
    ///
    /// A file that can no longer be read.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn read(&self, rows: &[usize]) -> Result<Vec<Sample>> {
        match &self.0 {
            Place::Held(held) => Ok(rows.iter().map(|&row| held[row].clone()).collect()),
            Place::Filed(filed) => {
                let read = rows.iter().map(|&row| filed.read(row));
                let failed = |source| Error::Read { path: filed.path.clone(), source };
                read.collect::<std::io::Result<_>>().map_err(failed)
            }
        }
    }

    /// All rows.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn read_all(&self) -> Result<Vec<Sample>> {
        self.read(&(0..self.len()).collect::<Vec<_>>())
    }
}
