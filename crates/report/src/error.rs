use std::path::{Path, PathBuf};

/// What reading a run, or writing of it, can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that a run has, and this folder has not.
    #[error("{folder}: no {file}: {what}")]
    Missing {
        /// The run's folder.
        folder: PathBuf,
        /// The file's name.
        file: &'static str,
        /// What to do.
        what: &'static str,
    },
    /// A file that does not hold what it should.
    #[error("{path}{}: {what}", line.map_or_else(String::new, |line| format!(":{line}")))]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1, where it is one line that is wrong.
        line: Option<usize>,
        /// What is wrong.
        what: String,
    },
}

/// The result of reading or writing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }

    pub(crate) fn broken(path: &Path, line: Option<usize>, what: impl ToString) -> Self {
        Self::Broken { path: path.to_path_buf(), line, what: what.to_string() }
    }
}
