use serde::{Deserialize, Serialize};
use tallow_data::TemplateSet;

/// A template set, some templates of one, or a template in the config itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a template set's name or file, or a table with `prompt` and `target`, or with `set` and `names`"
)]
pub enum TemplateChoice {
    /// One of the sets that come along, or a file.
    Set(String),
    /// Some of its templates.
    Some(SomeTemplates),
    /// minijinja templates over a row's columns.
    Inline(InlineTemplate),
}

/// Templates of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SomeTemplates {
    /// The set's name, or its file.
    pub set: String,
    /// The names of the templates to use.
    pub names: Vec<String>,
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
    /// If there is no set or template of that name, or one is not valid.
    pub fn set(&self) -> tallow_data::Result<TemplateSet> {
        match self {
            Self::Set(name) => TemplateSet::open(name),
            Self::Some(SomeTemplates { set, names }) => TemplateSet::open(set)?.only(names),
            Self::Inline(InlineTemplate { prompt, target }) => TemplateSet::inline(prompt, target),
        }
    }
}
