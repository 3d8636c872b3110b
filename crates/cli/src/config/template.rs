use serde::{Deserialize, Serialize};
use tallow_data::TemplateSet;

/// A template set's name, or a template in the config itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a template's name, or a table with `prompt` and `target`")]
pub enum TemplateChoice {
    /// One of the sets that come along.
    Named(String),
    /// minijinja templates over a row's columns.
    Inline(InlineTemplate),
}

/// A template in the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineTemplate {
    /// What the model reads: `Translate to German: {{ english }}`.
    pub prompt: String,
    /// What it is to write: `{{ german }}`.
    pub target: String,
}

impl TemplateChoice {
    /// The templates.
    ///
    /// # Errors
    /// If there is no set of that name, or a template is not valid.
    pub fn set(&self) -> tallow_data::Result<TemplateSet> {
        match self {
            Self::Named(name) => TemplateSet::named(name),
            Self::Inline(InlineTemplate { prompt, target }) => TemplateSet::inline(prompt, target),
        }
    }
}
