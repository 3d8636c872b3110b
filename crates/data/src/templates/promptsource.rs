//! promptsource's files of templates, as they are: `templates.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Choice, Entry, TemplateSet, refuse_twins};
use crate::error::{Error, Result};
use crate::template::{Options, Template};

#[derive(Deserialize)]
struct File {
    /// By a number of their own, which also is their order in the file.
    templates: BTreeMap<String, Spanned<Stored>>,
}

#[derive(Deserialize)]
struct Stored {
    name: String,
    jinja: String,
    #[serde(default)]
    answer_choices: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    original_task: Option<bool>,
}

impl TemplateSet {
    /// A set as promptsource stores it, of which one template is drawn for each row. `name` is what messages call it.
    ///
    /// A template whose `original_task` is false is an inversion. One that comes out empty for a row is not for this row. The
    /// filter `choice` draws by the row's columns: the same row gets the same. What changes lists or dictionaries (`append`,
    /// `update`, `pop`) is not supported.
    ///
    /// # Errors
    ///
    /// Text that is not of that form, a set without templates, two templates of one name, a syntax error in a template.
    pub fn from_promptsource(name: &str, text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::TemplateSet { set: name.into(), reason };
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            refuse(format!("not a file of promptsource's templates: {}", error.without_snippet()))
        })?;
        let names = file.templates.values().map(|stored| stored.value.name.as_str());
        refuse_twins(name, names)?;
        let compile = |stored: Spanned<Stored>| {
            let line = stored.referenced.line();
            let Stored { name: own, jinja, answer_choices, metadata } = stored.value;
            let options = answer_choices.filter(|text| !text.trim().is_empty()).map(Options::Barred);
            let template = Template::promptsource(format!("{name}/{own}"), &jinja, options);
            let template = template.map_err(|error| match error {
                Error::TemplateSyntax { template, reason } => {
                    Error::TemplateSyntax { template, reason: format!("line {line} of the file: {reason}") }
                }
                other => other,
            })?;
            let inversion = metadata.and_then(|metadata| metadata.original_task) == Some(false);
            let may_be_empty = jinja.contains("{%") || jinja.contains(" if ");
            Ok(Entry { name: own, template, when: Vec::new(), inversion, may_be_empty })
        };
        let entries = file.templates.into_values().map(compile).collect::<Result<_>>()?;
        Ok(Self { name: name.into(), choice: Choice::Drawn, entries })
    }
}
