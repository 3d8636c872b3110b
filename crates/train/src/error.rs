use std::path::PathBuf;

/// What training or measuring can fail with.
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
    /// A checkpoint that is not whole, or is of another run.
    #[error("{path}: {what}")]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A loss or a gradient that is not a number any more.
    #[error(
        "step {step}: the {what} is not finite{}; {}; lower learning_rate, or look at {}",
        if rows.is_empty() { String::new() } else { format!(", on rows {}", rows.join(", ")) },
        match good {
            Some(path) => format!("the last good checkpoint is {}", path.display()),
            None => "there is no checkpoint before it".to_owned(),
        },
        if rows.is_empty() { "the validation rows" } else { "these rows" }
    )]
    NonFinite {
        /// The step, from 1.
        step: usize,
        /// `loss`, `gradient`, `update` or `validation loss`.
        what: &'static str,
        /// Where the step's rows stand; none of the validation's.
        rows: Vec<String>,
        /// The last checkpoint.
        good: Option<PathBuf>,
    },
    /// A device that has no room for what was asked of it.
    #[error(
        "out of memory on {device}{}: {what}{}. {advice}",
        total.map_or_else(String::new, |total| format!(", which has {:.1} GB", total as f64 / 1e9)),
        estimate.map_or_else(String::new, |bytes| {
            format!(", which takes about {:.1} GB of activations beside the weights", bytes / 1e9)
        })
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// The bytes of its memory, where it tells.
        total: Option<usize>,
        /// What it was to compute: the rows and their tokens.
        what: String,
        /// About the bytes that this takes, where there is an estimate.
        estimate: Option<f64>,
        /// What helps.
        advice: &'static str,
    },
    /// `batch_tokens = "auto"` that nothing has replaced by a number.
    #[error("batch_tokens is \"auto\", and it has not been tried yet how many fit")]
    BatchTokens,
    /// A warm-up as long as the run.
    #[error("warmup_steps is {steps}, but the run has {total} steps: leave some after the warm-up")]
    WarmUp {
        /// Of the warm-up.
        steps: usize,
        /// Of the run.
        total: usize,
    },
    /// The rows gave no batches.
    #[error(transparent)]
    Data(#[from] tallow_data::Error),
    /// Scores that cannot be computed.
    #[error(transparent)]
    Metrics(#[from] tallow_metrics::Error),
    /// The method failed.
    #[error(transparent)]
    Peft(#[from] tallow_peft::Error),
    /// The model failed.
    #[error(transparent)]
    T5(#[from] tallow_t5::Error),
    /// An operation failed.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of training.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the device had no memory left. candle keeps of the driver's error, and of cuBLAS's, only the text.
    pub(crate) fn says_out_of_memory(&self) -> bool {
        let text = self.to_string();
        ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"].iter().any(|name| text.contains(name))
    }

    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }
}
