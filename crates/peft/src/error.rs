use std::path::PathBuf;

/// What hooking, reading or writing an adapter can fail with.
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
    /// An adapter_config.json that is not valid, or asks for what there is not.
    #[error("{path}: {what}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Targets that match no layer of the model.
    #[error("{key} {targets} match no layer of the model; its layers end in {known}")]
    NoTarget {
        /// Where they were given.
        key: &'static str,
        /// What was asked for.
        targets: String,
        /// The last parts of the layers' names.
        known: String,
    },
    /// Targets that are excluded, or lie in other layers.
    #[error("of the layers that target_modules {targets} match, exclude_modules and layers leave none")]
    NothingLeft {
        /// What was asked for.
        targets: String,
    },
    /// A target that is no linear layer of a block.
    #[error("{name} is no linear layer of a block: give it to lora")]
    NotLinear {
        /// The layer.
        name: String,
    },
    /// A layer whose weight gives no start.
    #[error("{name} cannot be started from its weight{}: give init_lora_weights = \"kaiming\"",
        rank.map_or(String::new(), |rank| format!(" at rank {rank}, of which it has fewer")))]
    Start {
        /// The layer.
        name: String,
        /// The rank that is too large, if that is why.
        rank: Option<usize>,
    },
    /// A weight whose singular values cannot be found.
    #[error("the singular values of a weight cannot be found: is it finite?")]
    Svd,
    /// A module that the model does not have.
    #[error("modules_to_save has {module}, which no weight's name ends in")]
    NoModule {
        /// Its name.
        module: String,
    },
    /// Two tensors that stand for one, and differ.
    #[error("{} and {} differ, which here are rows of one table", names[0], names[1])]
    Apart {
        /// Their names.
        names: [String; 2],
    },
    /// A pattern that matches no weight.
    #[error(
        "`{pattern}` matches no weight of the model; names are as encoder.block.0.layer.0.layer_norm.weight"
    )]
    NoWeight {
        /// The pattern.
        pattern: String,
    },
    /// More blocks than the stacks of the model have.
    #[error(
        "last_blocks is {asked}, but the model's stacks have {blocks} blocks: at most that many can be the last ones"
    )]
    Blocks {
        /// How many were asked for.
        asked: usize,
        /// The blocks of the deeper stack.
        blocks: usize,
    },
    /// Tokens whose rows cannot be trained, or started from.
    #[error("{what}")]
    Tokens {
        /// Why.
        what: String,
    },
    /// A target pattern that is not a regular expression.
    #[error("`{pattern}` is not a regular expression: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: Box<regex::Error>,
    },
    /// Adapter tensors that do not fit the model: all of them; the message has the first.
    #[error("{path} is not an adapter of this model:\n{}", tallow_t5::tensors::listed(problems))]
    Tensors {
        /// The adapter's file.
        path: PathBuf,
        /// Each stray, missing or misshapen tensor.
        problems: Vec<String>,
    },
    /// An adapter whose rows cannot share a batch with those of others.
    #[error("the adapter changes {place}, which all rows of a batch share: generate with it apart")]
    NotMixable {
        /// What it changes.
        place: String,
    },
    /// A name that no adapter has.
    #[error("there is no adapter `{name}`; {}", in_words(known))]
    UnknownAdapter {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// An adapter that is larger than all of them may be.
    #[error(
        "the adapter `{name}` takes {bytes} bytes, and all adapters have room for {room}: give them more"
    )]
    NoRoom {
        /// Its name.
        name: String,
        /// What it takes.
        bytes: usize,
        /// What all may take.
        room: usize,
    },
    /// Adapters that cannot be combined.
    #[error("the adapters cannot be combined: {what}")]
    Combine {
        /// Why, and what to do.
        what: String,
    },
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

fn in_words(known: &[String]) -> String {
    match known {
        [] => "none is loaded".to_owned(),
        known => format!("loaded are {}", known.join(", ")),
    }
}

/// The result of a method.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }
}
