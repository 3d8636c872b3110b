//! One prompt template: a prompt and a target over a row's columns.

mod engine;
mod options;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::row::Row;
use engine::{DRAWS, Dialect};
pub(crate) use options::{BARS, Options};

/// The two texts a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the model reads.
    Prompt,
    /// What the model is to write.
    Target,
}

impl Part {
    /// `prompt` or `target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Target => "target",
        }
    }
}

/// A prompt and a target in the language of Jinja, `{{ column }}` standing for a column's value.
///
/// Nothing is escaped, a column that the row lacks is an error (a null value is one that it lacks), a line that
/// holds a `{% block %}` only leaves no line behind, and whitespace at the end of a text is taken off.
///
/// A template may have options, the answers that a row lets the model choose from; its texts can list them.
pub struct Template {
    name: String,
    dialect: Dialect,
    engine: Environment<'static>,
    prompt: Text,
    target: Text,
    options: Option<Options>,
    option_columns: BTreeSet<String>,
    /// Whether a text draws something, for which it needs a seed.
    draws: bool,
}

/// Where a part's text comes from.
struct Text {
    /// The name of its source in the engine.
    source: &'static str,
    /// The source makes both parts, with bars between.
    halved: bool,
    /// The columns that it mentions, those of the options included if it mentions them.
    columns: BTreeSet<String>,
    has_options: bool,
}

/// Stands for the bars of a source while it is rendered: a row's own are text.
const MARK: &str = "\u{f8ff}|||\u{f8ff}";

fn marked(source: &str) -> String {
    source.replace(BARS, MARK)
}

/// The name in the engine of a source that makes both parts.
const WHOLE: &str = "template";

impl Template {
    /// Compiles a template. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// A syntax error, with its part and line.
    pub fn new(name: impl Into<String>, prompt: &str, target: &str) -> Result<Self> {
        Self::with_options(name, prompt, target, None)
    }

    /// Compiles a template whose texts can use `options`.
    pub(crate) fn with_options(
        name: impl Into<String>,
        prompt: &str,
        target: &str,
        options: Option<Options>,
    ) -> Result<Self> {
        let sources = [(Part::Prompt.name(), prompt.to_owned()), (Part::Target.name(), target.to_owned())];
        Self::compile(name.into(), Dialect::Own, sources, options)
    }

    /// Compiles a template of promptsource's: prompt and target in one text, bars between them.
    pub(crate) fn promptsource(
        name: impl Into<String>,
        jinja: &str,
        options: Option<Options>,
    ) -> Result<Self> {
        let name = name.into();
        let Some((prompt, target)) = jinja.split_once(BARS) else {
            let reason = format!("it has no `{BARS}` between prompt and target");
            return Err(Error::TemplateSyntax { template: name, reason });
        };
        // The bars may stand within a block, and the target may use what the prompt has set: only the whole text can be
        // rendered then. Else each part needs its own columns alone.
        let engine = Dialect::Promptsource.engine();
        let stands_alone = |text: &str| !text.contains(BARS) && engine.template_from_str(text).is_ok();
        let prompt = match stands_alone(prompt) && !target.contains(BARS) {
            true => (Part::Prompt.name(), prompt.to_owned()),
            false => (WHOLE, marked(jinja)),
        };
        let target = match prompt.0 != WHOLE && stands_alone(target) && !sets(&prompt.1) {
            true => (Part::Target.name(), target.to_owned()),
            false => (WHOLE, marked(jinja)),
        };
        Self::compile(name, Dialect::Promptsource, [prompt, target], options)
    }

    fn compile(
        name: String,
        dialect: Dialect,
        sources: [(&'static str, String); 2],
        options: Option<Options>,
    ) -> Result<Self> {
        let refuse = |error: minijinja::Error| Error::TemplateSyntax {
            template: name.clone(),
            reason: error.to_string(),
        };
        let mut engine = dialect.engine();
        let option_columns = match &options {
            Some(options) => options.compile(&mut engine).map_err(|error| Error::TemplateSyntax {
                template: name.clone(),
                reason: format!("options: {error}"),
            })?,
            None => BTreeSet::new(),
        };
        let option_columns = without_globals(option_columns, &engine);
        let mut texts =
            sources.iter().map(|(_, text)| text.as_str()).chain(options.as_ref().and_then(Options::source));
        let draws = dialect == Dialect::Promptsource
            && texts.any(|text| text.contains("choice") || text.contains("random"));
        for (source, text) in &sources {
            engine.add_template_owned(*source, text.clone()).map_err(refuse)?;
        }
        let [prompt, target] = sources.map(|(source, _)| {
            let template = engine.get_template(source).expect("both sources were added");
            let mut columns =
                without_globals(template.undeclared_variables(false).into_iter().collect(), &engine);
            let has_options = options.is_some() && columns.remove(dialect.options());
            if has_options {
                columns.extend(option_columns.iter().cloned());
            }
            Text { source, halved: source == WHOLE, columns, has_options }
        });
        Ok(Self { name, dialect, engine, prompt, target, options, option_columns, draws })
    }

    /// What messages call this template.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns that a part mentions, whether or not it can do without some of them
    /// (`{% if input is defined %}`).
    pub fn columns(&self, part: Part) -> &BTreeSet<String> {
        &self.text(part).columns
    }

    fn text(&self, part: Part) -> &Text {
        match part {
            Part::Prompt => &self.prompt,
            Part::Target => &self.target,
        }
    }

    /// A part's text for a row, without whitespace at its end; it may be empty.
    ///
    /// # Errors
    ///
    /// A column that the row lacks, or an operation that its value does not allow.
    pub fn render(&self, part: Part, row: &Row) -> Result<String> {
        self.render_with(part, row, &[])
    }

    /// The answers that this row lets the model choose from; `None` if the template has no options.
    ///
    /// # Errors
    ///
    /// A column that the row lacks, or one that holds no list of answers.
    pub fn options(&self, row: &Row) -> Result<Option<Vec<String>>> {
        let Some(options) = &self.options else { return Ok(None) };
        let context = self.context(&self.option_columns, row, &[]);
        options.of(&self.engine, &context).map(Some).map_err(|error| self.failed(row, &error))
    }

    /// Whether a part comes out empty: promptsource's templates say so of rows that they are not for.
    pub(crate) fn leaves_out(&self, row: &Row) -> bool {
        let is_empty = |part| self.render(part, row).is_ok_and(|text| text.is_empty());
        is_empty(Part::Prompt) || is_empty(Part::Target)
    }

    /// The columns that `row` lacks and that `part` cannot do without for this row: a smallest set of columns
    /// that, were they there, would let the part be rendered.
    pub(crate) fn missing_columns<'a>(&'a self, part: Part, row: &Row) -> Vec<&'a str> {
        let mentioned = self.columns(part).iter().map(String::as_str);
        let mut missing: Vec<&str> = mentioned.filter(|column| row.get(column).is_none()).collect();
        // Leaving one out may make another superfluous (`{% if a is defined %}{{ b }}{% endif %}`).
        while let Some(without) = (0..missing.len()).find_map(|index| {
            let mut others = missing.clone();
            others.remove(index);
            self.render_with(part, row, &others).is_ok().then_some(others)
        }) {
            missing = without;
        }
        missing
    }

    /// What of `row` a text can use; `stand_ins` are columns that are there with some text.
    fn context<'a>(
        &self,
        columns: &'a BTreeSet<String>,
        row: &Row,
        stand_ins: &[&'a str],
    ) -> BTreeMap<&'a str, Value> {
        let value = |column: &str| match self.dialect {
            Dialect::Own => row.get(column),
            // Its templates compare with `none`.
            Dialect::Promptsource => row.fields.get(column),
        };
        let present = columns.iter().filter_map(|column| {
            let value = value(column).map(|value| Value::from(Serde(value)))?;
            Some((column.as_str(), value))
        });
        let invented = stand_ins.iter().map(|column| (*column, Value::from("text")));
        let mut context: BTreeMap<&str, Value> = present.chain(invented).collect();
        if self.draws {
            context.insert(DRAWS, Value::from(seed(row)));
        }
        context
    }

    fn render_with(&self, part: Part, row: &Row, stand_ins: &[&str]) -> Result<String> {
        let text = self.text(part);
        let mut context = self.context(&text.columns, row, stand_ins);
        let rendered = || {
            if let (true, Some(options)) = (text.has_options, &self.options) {
                let options = options.of(&self.engine, &context)?;
                context.insert(self.dialect.options(), Value::from(options));
            }
            let rendered = self.engine.get_template(text.source)?.render(Value::from(context))?;
            if !text.halved {
                return Ok(rendered);
            }
            let halves: Vec<&str> = rendered.split(MARK).collect();
            match (halves.as_slice(), part) {
                ([half] | [half, _], Part::Prompt) | ([_, half], Part::Target) => Ok((*half).to_owned()),
                ([_], Part::Target) => Ok(String::new()),
                _ => {
                    let what =
                        format!("it makes {} texts of this row, not a prompt and a target", halves.len());
                    Err(minijinja::Error::new(ErrorKind::InvalidOperation, what))
                }
            }
        };
        let mut rendered = rendered().map_err(|error| self.failed(row, &error))?;
        rendered.truncate(rendered.trim_end().len());
        if self.dialect == Dialect::Promptsource {
            rendered.drain(..rendered.len() - rendered.trim_start().len());
        }
        Ok(rendered)
    }

    fn failed(&self, row: &Row, error: &minijinja::Error) -> Error {
        let (origin, template) = (row.origin.clone(), self.name.clone());
        Error::Render { origin, template, reason: error.to_string() }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("name", &self.name)
            .field("prompt_columns", &self.prompt.columns)
            .field("target_columns", &self.target.columns)
            .finish_non_exhaustive()
    }
}

/// The variables that are no functions of the engine.
fn without_globals(mut variables: BTreeSet<String>, engine: &Environment<'_>) -> BTreeSet<String> {
    for (name, _) in engine.globals() {
        variables.remove(name);
    }
    variables
}

/// Whether a text sets something that a text behind it may use.
fn sets(text: &str) -> bool {
    let blocks = text.split("{%").skip(1).map(|block| block.trim_start_matches(['-', '+']).trim_start());
    blocks.into_iter().any(|block| block.starts_with("set") || block.starts_with("macro"))
}

/// A number of the row's own: equal rows draw alike, wherever they stand.
fn seed(row: &Row) -> u64 {
    let text = serde_json::to_string(&row.fields).expect("a row is JSON");
    let digest = Sha256::digest(text);
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}
