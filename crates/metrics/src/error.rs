/// What can go wrong: a word that names nothing, or nothing to compare with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that is not a [`RougeType`](crate::RougeType).
    #[error(
        "unknown ROUGE type `{0}`; known are rouge1, rouge2 and so on (any whole number from 1), rougeL, rougeLsum"
    )]
    UnknownRougeType(String),

    /// A prediction came with an empty list of references.
    #[error("a prediction needs at least one reference to be scored against, and none was given")]
    NoReferences,
}
