//! The sets that come along, from `data/templates`.

macro_rules! sets {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../data/templates/", $name, ".toml")))),*]
    };
}

/// Names and texts, in the order of the alphabet.
pub(super) const SETS: [(&str, &str); 13] = sets![
    "alpaca",
    "dialogue-summary",
    "dialogue-summary-flan",
    "entities",
    "entities-of-type",
    "qa-choices",
    "qa-choices-lettered",
    "qa-closed-book",
    "qa-context",
    "review-rating",
    "review-sentence",
    "sentiment",
    "translation",
];
