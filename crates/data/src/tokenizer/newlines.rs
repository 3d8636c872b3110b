//! Line breaks, which T5's vocabulary does not have.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What line breaks become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Newlines {
    /// Blanks, as for T5 itself.
    #[default]
    Blank,
    /// In targets the sentinel `<extra_id_0>`, of all sentinels the one that T5's pretraining has seen most; of text that
    /// the model writes, it is a line break again. Blanks at the ends of lines are lost.
    Targets,
    /// The same, in prompts too.
    Both,
}

/// The sentinel.
pub(super) const SENTINEL: &str = "<extra_id_0>";

/// The lines with a sentinel between them in place of the break.
pub(super) fn marked(text: &str) -> Cow<'_, str> {
    match text.contains(['\n', '\r']) {
        true => text.lines().map(str::trim).collect::<Vec<_>>().join(SENTINEL).into(),
        false => text.into(),
    }
}
