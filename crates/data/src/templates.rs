//! Sets of templates, and which of a set's templates a row gets.

mod bundled;
mod promptsource;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::nearest::nearest;
use crate::random::Random;
use crate::row::Row;
use crate::template::{Options, Template};

/// How a row's template is chosen among those that are for the row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Choice {
    /// The first of them.
    #[default]
    First,
    /// One drawn by a hash of the seed and the row's number.
    Drawn,
}

/// Templates for one kind of rows.
///
/// A set is written as TOML:
///
/// ```toml
/// choice = "drawn"                # or "first", which is the default
/// options = ["yes", "no"]         # optional: of the templates that have none of their own
///
/// [[template]]
/// name = "with-input"
/// when = ["input"]                # optional: only for rows in which these columns hold something
/// inversion = true                # optional: asks for the task's input, given its output
/// options = "answers"             # optional: what the model chooses from, `options` in the texts; or an expression
/// prompt = "{{ instruction }} {{ input }}"
/// target = "{{ output }}"
/// ```
#[derive(Debug)]
pub struct TemplateSet {
    name: String,
    choice: Choice,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Within the set.
    name: String,
    template: Template,
    when: Vec<String>,
    inversion: bool,
    /// Rows for which it makes an empty text are not its own.
    may_be_empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFile {
    #[serde(default)]
    choice: Choice,
    #[serde(default)]
    options: Option<OptionsFile>,
    template: Vec<EntryFile>,
}

/// Texts, or an expression over a row's columns that gives a list.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of texts, or an expression that gives one, such as a column's name"
)]
enum OptionsFile {
    Texts(Vec<String>),
    Expression(String),
}

impl From<OptionsFile> for Options {
    fn from(options: OptionsFile) -> Self {
        match options {
            OptionsFile::Texts(texts) => Self::Texts(texts),
            OptionsFile::Expression(source) => Self::Expression(source),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    name: String,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    inversion: bool,
    #[serde(default)]
    options: Option<OptionsFile>,
    prompt: String,
    target: String,
}

impl TemplateSet {
    /// A set by its name, or by its file if `name` ends as one of [`from_file`](Self::from_file)'s does.
    ///
    /// # Errors
    ///
    /// Those of [`named`](Self::named) and [`from_file`](Self::from_file).
    pub fn open(name: &str) -> Result<Self> {
        match is_toml(Path::new(name)) || is_yaml(Path::new(name)) {
            true => Self::from_file(Path::new(name)),
            false => Self::named(name),
        }
    }

    /// A set that comes with this crate: see [`names`](Self::names).
    ///
    /// # Errors
    ///
    /// A name that is not known; the error lists those that are, and the nearest.
    pub fn named(name: &str) -> Result<Self> {
        match bundled::SETS.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::from_toml(name, text),
            None => Err(Error::UnknownTemplates {
                name: name.into(),
                nearest: nearest(name, Self::names()).unwrap_or_default().into(),
                known: Self::names().map(String::from).collect(),
            }),
        }
    }

    /// The names of the sets that come with this crate; docs/templates.md has their columns.
    pub fn names() -> impl Iterator<Item = &'static str> {
        bundled::SETS.iter().map(|(name, _)| *name)
    }

    /// A set of one template, given as text.
    ///
    /// # Errors
    ///
    /// A syntax error in either text.
    pub fn inline(prompt: &str, target: &str) -> Result<Self> {
        let template = Template::new("inline", prompt, target)?;
        let entries = vec![Entry {
            name: "inline".into(),
            template,
            when: Vec::new(),
            inversion: false,
            may_be_empty: false,
        }];
        Ok(Self { name: "inline".into(), choice: Choice::First, entries })
    }

    /// A set written as TOML, in the form shown [above](Self). `name` is what messages call the set.
    ///
    /// # Errors
    ///
    /// Text that is not of that form, a set without templates, two templates of one name, a syntax error in a
    /// template.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::TemplateSet { set: name.into(), reason };
        let file: SetFile = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        refuse_twins(name, file.template.iter().map(|entry| entry.name.as_str()))?;
        let alone = file.template.len() == 1;
        let compile = |entry: EntryFile| {
            let full = if alone { name.to_string() } else { format!("{name}/{}", entry.name) };
            let options = entry.options.or_else(|| file.options.clone()).map(Options::from);
            if options.as_ref().is_some_and(Options::is_empty) {
                return Err(refuse(format!("`options` of `{}` is empty", entry.name)));
            }
            let template = Template::with_options(full, &entry.prompt, &entry.target, options)?;
            let EntryFile { name, when, inversion, .. } = entry;
            Ok(Entry { name, template, when, inversion, may_be_empty: false })
        };
        let entries = file.template.into_iter().map(compile).collect::<Result<_>>()?;
        Ok(Self { name: name.into(), choice: file.choice, entries })
    }

    /// Reads a set of your own: TOML, or promptsource's YAML if the file's name ends in `.yaml` or `.yml`.
    ///
    /// # Errors
    ///
    /// A file that is not there or cannot be read, and those of [`from_toml`](Self::from_toml) and
    /// [`from_promptsource`](Self::from_promptsource).
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::FileNotFound { path: path.into() },
            _ => Error::Read { path: path.into(), source },
        })?;
        let name = path.display().to_string();
        match is_yaml(path) {
            true => Self::from_promptsource(&name, &text),
            false => Self::from_toml(&name, &text),
        }
    }

    /// Keeps the templates of these names alone.
    ///
    /// # Errors
    ///
    /// A name that no template has; the error lists those that are there, and the nearest. No names at all.
    pub fn only(mut self, names: &[String]) -> Result<Self> {
        let refuse = |reason: String| Error::TemplateSet { set: self.name.clone(), reason };
        if names.is_empty() {
            return Err(refuse(
                "`names` is empty: name the templates to use, or leave it out for all".into(),
            ));
        }
        let known = || self.entries.iter().map(|entry| entry.name.as_str());
        if let Some(unknown) = names.iter().find(|name| !known().any(|known| known == *name)) {
            let near = nearest(unknown, known()).unwrap_or_default();
            let all = known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(refuse(format!("no template `{unknown}`; did you mean `{near}`? It has: {all}")));
        }
        self.entries.retain(|entry| names.contains(&entry.name));
        Ok(self)
    }

    /// The set's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The templates, in the order of the set.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.entries.iter().map(|entry| &entry.template)
    }

    /// Takes out the inversions: an evaluation asks for the task itself. Where there is nothing else, they are the task.
    pub fn without_inversions(mut self) -> Self {
        if self.entries.iter().any(|entry| !entry.inversion) {
            self.entries.retain(|entry| !entry.inversion);
        }
        self
    }

    /// The templates that the row numbered `index` may get, whatever the seed.
    pub(crate) fn candidates<'a>(&'a self, row: &Row) -> Vec<&'a Template> {
        let fits = |entry: &&Entry| {
            entry.when.iter().all(|column| row.has_content(column))
                && !(entry.may_be_empty && entry.template.leaves_out(row))
        };
        let limit = match self.choice {
            Choice::First => 1,
            Choice::Drawn => usize::MAX,
        };
        self.entries.iter().filter(fits).map(|entry| &entry.template).take(limit).collect()
    }

    /// The template of a row: the same for the same set, seed, `index` (the row's number in its file, from 0) and
    /// filled columns.
    ///
    /// # Errors
    ///
    /// A row that no template is for.
    pub fn template_for(&self, row: &Row, index: usize, seed: u64) -> Result<&Template> {
        let candidates = self.candidates(row);
        match candidates.len() {
            0 => Err(Error::NoTemplate { origin: row.origin.clone(), set: self.name.clone() }),
            count => Ok(candidates[Random::new(seed, index as u64).below(count)]),
        }
    }
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "toml")
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml")
}

/// Refuses a set without templates, and one with two of a name.
fn refuse_twins<'a>(set: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let refuse = |reason: String| Err(Error::TemplateSet { set: set.into(), reason });
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return refuse(format!("two templates are called `{name}`"));
        }
    }
    match seen.is_empty() {
        true => refuse("it has no templates".into()),
        false => Ok(()),
    }
}
