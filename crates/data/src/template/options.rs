//! The answers that a template lets the model choose from.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

/// The parts of promptsource's texts stand between these.
pub(crate) const BARS: &str = "|||";

/// Where a template's options come from.
#[derive(Debug)]
pub(crate) enum Options {
    /// The same texts for every row.
    Texts(Vec<String>),
    /// An expression over the row's columns that gives a list: the name of a column, mostly.
    Expression(String),
    /// A text over the row's columns, with bars between the options.
    Barred(String),
}

/// The name of a text of options in the engine.
const TEXT: &str = "options";

impl Options {
    /// Whether there is nothing to choose from.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Texts(texts) => texts.is_empty(),
            Self::Expression(source) | Self::Barred(source) => source.trim().is_empty(),
        }
    }

    /// What the options are computed from.
    pub(super) fn source(&self) -> Option<&str> {
        match self {
            Self::Texts(_) => None,
            Self::Expression(source) | Self::Barred(source) => Some(source),
        }
    }

    /// Compiles what there is to compile; gives the columns that the options are made of.
    pub(super) fn compile(&self, engine: &mut Environment<'static>) -> Result<BTreeSet<String>, Error> {
        let columns = match self {
            Self::Texts(_) => return Ok(BTreeSet::new()),
            Self::Expression(source) => engine.compile_expression(source)?.undeclared_variables(false),
            Self::Barred(source) => {
                engine.add_template_owned(TEXT, super::marked(source))?;
                engine.get_template(TEXT)?.undeclared_variables(false)
            }
        };
        Ok(columns.into_iter().collect())
    }

    /// The options of a row whose columns are in `context`.
    pub(super) fn of(
        &self,
        engine: &Environment<'static>,
        context: &BTreeMap<&str, Value>,
    ) -> Result<Vec<String>, Error> {
        let context = || Value::from(context.clone());
        match self {
            Self::Texts(texts) => Ok(texts.clone()),
            Self::Expression(source) => {
                let list = engine.compile_expression(source)?.eval(context())?;
                let is_list = matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable);
                let texts =
                    if is_list { list.try_iter()?.map(|text| text.to_string()).collect() } else { vec![] };
                if texts.is_empty() {
                    let found = if is_list { "an empty list" } else { "no list" };
                    let what = format!("options: `{source}` gives {found} of answers to choose from");
                    return Err(Error::new(ErrorKind::InvalidOperation, what));
                }
                Ok(texts)
            }
            Self::Barred(_) => {
                let text = engine.get_template(TEXT)?.render(context())?;
                Ok(text.split(super::MARK).map(|option| option.trim().to_owned()).collect())
            }
        }
    }
}
