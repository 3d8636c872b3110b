use std::path::PathBuf;

/// What finding or fetching something of the Hub can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that does not read as one.
    #[error("{name}: {what}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong, and what to give.
        what: String,
    },
    /// A repository that there is not, or that is hidden.
    #[error(
        "{name}: the Hub has no such repository at {url}, or it is private: check the name; for a private one set \
         HF_TOKEN to a token that may read it"
    )]
    NoRepository {
        /// The repository.
        name: String,
        /// Its page.
        url: String,
    },
    /// A revision that there is not.
    #[error(
        "{name}: the repository has no revision `{revision}`: see {url}/tree/main for its branches and tags"
    )]
    NoRevision {
        /// The repository.
        name: String,
        /// The revision.
        revision: String,
        /// The repository's page.
        url: String,
    },
    /// A file that there is not.
    #[error("{name}: the repository has no file `{file}`: see {url}/tree/{revision} for what it has")]
    NoFile {
        /// The repository.
        name: String,
        /// The file, or the pattern.
        file: String,
        /// The repository's page.
        url: String,
        /// Its revision.
        revision: String,
    },
    /// A repository that is not of the kind that is wanted, or not whole.
    #[error("{name}: {what}")]
    NotWhatIsWanted {
        /// The repository.
        name: String,
        /// The file that is missing.
        lacks: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A repository whose conditions have to be accepted first.
    #[error(
        "{name} is gated: accept its conditions at {url}, then set HF_TOKEN to a token of that account{now}"
    )]
    Gated {
        /// The repository.
        name: String,
        /// Its page.
        url: String,
        /// The token that was sent, if any.
        now: String,
    },
    /// A token that the Hub does not know.
    #[error(
        "{name}: the Hub refuses the token in {origin}: make a new one at {endpoint}/settings/tokens, or remove it to ask \
         without"
    )]
    Token {
        /// The repository.
        name: String,
        /// Where the token was found.
        origin: String,
        /// The Hub's address.
        endpoint: String,
    },
    /// An answer that is neither the file nor one of the reasons above.
    #[error("{name}: {url} answers {status}{message}")]
    Status {
        /// The repository.
        name: String,
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What the Hub says about it.
        message: String,
    },
    /// An answer that the Hub would not give.
    #[error("{name}: {url} does not answer as the Hub does: {what}; is HF_ENDPOINT right?")]
    NotTheHub {
        /// The repository.
        name: String,
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The Hub cannot be reached.
    #[error(
        "{name}: cannot reach {endpoint} ({source}), and the cache in {} lacks it: check the network, or give a local path",
        cache.display()
    )]
    Unreachable {
        /// The repository.
        name: String,
        /// The Hub's address.
        endpoint: String,
        /// The folder of the cache.
        cache: PathBuf,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// A connection that was cut again and again.
    #[error(
        "{name}: the connection was cut {tries} times, last at {have} of {size} bytes of {file} ({reason}); what has come is \
         kept: give the same command again to go on"
    )]
    Cut {
        /// The repository.
        name: String,
        /// The file.
        file: String,
        /// How often.
        tries: u32,
        /// Bytes that have come.
        have: u64,
        /// Bytes of the file.
        size: u64,
        /// Why, the last time.
        reason: String,
    },
    /// A file that is not what the server announced.
    #[error("{name}: {file} {what}; it was not kept: give the same command again to fetch it anew")]
    Damaged {
        /// The repository.
        name: String,
        /// The file.
        file: String,
        /// What differs.
        what: String,
    },
    /// Requests are forbidden, and the cache does not hold everything.
    #[error(
        "{name}: {lacks} is not in the cache in {}, and {variable} is set: unset it to fetch what is missing",
        cache.display()
    )]
    Offline {
        /// The repository.
        name: String,
        /// The file, or all of it.
        lacks: String,
        /// The variable that forbids.
        variable: &'static str,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// There is no place for the cache.
    #[error("there is no home folder to keep files of the Hub in: set HF_HOME to a folder")]
    NoCache,
    /// A file that cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The result of the Hub.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the Hub cannot answer now: what is asked for may be there.
    pub(crate) fn is_of_the_server(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }

    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }
}
