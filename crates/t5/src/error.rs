use std::path::PathBuf;

/// What loading or running a model can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be opened, read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A model's config.json that is not valid, or asks for what there is not.
    #[error("{path}: {what}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A safetensors file that is not whole.
    #[error("{path}: {what}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Tensors of a checkpoint that do not fit its config: all of them; the message has the first.
    #[error("{path} does not fit its config.json:\n{}", crate::tensors::listed(problems))]
    Weights {
        /// The model's folder.
        path: PathBuf,
        /// Each missing or misshapen tensor.
        problems: Vec<String>,
    },
    /// A token id that the model has no embedding for.
    #[error(
        "token id {id} is past the model's vocabulary of {vocabulary}: is this the model's own tokenizer?"
    )]
    Vocabulary {
        /// The id.
        id: u32,
        /// The rows of the embedding.
        vocabulary: usize,
    },
    /// Something trained that no weight is equal to.
    #[error(
        "{name}: what is trained there is no weight of the base and cannot be merged into it: use it as an adapter"
    )]
    NotMergeable {
        /// The place.
        name: String,
    },
    /// An operation failed.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of a model.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }
}

/// For parts of a model that a tape runs again; see [`tallow_ops::Tape::checkpoint`].
impl From<Error> for tallow_ops::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Ops(error) => error,
            Error::Candle(error) => error.into(),
            other => candle_core::Error::wrap(other).into(),
        }
    }
}
