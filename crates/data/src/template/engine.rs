//! The two ways in which templates are written: a set's own, and promptsource's.

use std::fmt::Write;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind, from_args};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use minijinja_contrib::pycompat;

use crate::random::Random;

/// What templates are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A set's file: what a row lacks is an error wherever it is used, and a line of blocks leaves no line.
    Own,
    /// promptsource: Jinja as in Python, where strings and lists have methods, and what a row lacks may be asked for by
    /// `if`. It is printed as nothing there, and an error here.
    Promptsource,
}

/// The seed of what a text draws, in its context; no template can write this name.
pub(super) const DRAWS: &str = "seed of draws";

impl Dialect {
    /// What the options are called in a text.
    pub(super) fn options(self) -> &'static str {
        match self {
            Self::Own => "options",
            Self::Promptsource => "answer_choices",
        }
    }

    pub(super) fn engine(self) -> Environment<'static> {
        let mut engine = Environment::new();
        engine.set_auto_escape_callback(|_| AutoEscape::None);
        match self {
            Self::Own => {
                engine.set_undefined_behavior(UndefinedBehavior::Strict);
                let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
                engine.set_syntax(syntax.expect("Jinja's own delimiters are valid"));
            }
            Self::Promptsource => {
                engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
                engine.set_unknown_method_callback(method);
                engine.set_formatter(|out, state, value| match value.is_none() {
                    true => Err(Error::new(ErrorKind::InvalidOperation, "null would be written as `None`")),
                    false => minijinja::escape_formatter(out, state, value),
                });
                engine.add_function("zip", zip);
                engine.add_filter("choice", draw);
                engine.add_filter("random", draw);
                engine.add_filter("most_frequent", most_frequent);
            }
        }
        engine
    }
}

/// Python's methods of strings, lists and dictionaries; those that change a list or a dictionary are refused.
fn method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.kind(), method) {
        (ValueKind::Seq, "index") => {
            let (wanted,): (Value,) = from_args(args)?;
            let found = value.try_iter()?.position(|item| item == wanted);
            found.map(Value::from).ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not among {value}"))
            })
        }
        (ValueKind::Seq, "append" | "extend" | "insert" | "pop" | "remove" | "sort" | "reverse")
        | (ValueKind::Map, "update" | "pop" | "setdefault") => {
            let mut what = String::from("lists and dictionaries cannot be changed in a template: ");
            let _ = write!(what, ".{method}() is not supported; choose other templates by `names`");
            Err(Error::new(ErrorKind::UnknownMethod, what))
        }
        _ => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// Python's zip: tuples of the first items, of the second, to the end of the shortest.
fn zip(lists: Rest<Value>) -> Result<Value, Error> {
    let mut lists: Vec<_> = lists.iter().map(Value::try_iter).collect::<Result<_, _>>()?;
    let next = || lists.iter_mut().map(Iterator::next).collect::<Option<Vec<Value>>>();
    Ok(std::iter::from_fn(next).take_while(|items| !items.is_empty()).map(Value::from).collect())
}

/// One of some items, each equally likely.
fn draw(state: &mut State, items: Value) -> Result<Value, Error> {
    let seed = state.lookup(DRAWS).and_then(|seed| u64::try_from(seed).ok()).unwrap_or_default();
    let items: Vec<Value> = items.try_iter()?.collect();
    if items.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "nothing to choose from"));
    }
    let random = state.get_or_insert_extension_with(|| Random::new(seed, 0));
    Ok(items[random.below(items.len())].clone())
}

/// The items that occur most often, in the order in which they come; nothing of an empty list.
fn most_frequent(items: Value) -> Result<Value, Error> {
    let mut counts: Vec<(Value, usize)> = Vec::new();
    for item in items.try_iter()? {
        match counts.iter_mut().find(|(known, _)| *known == item) {
            Some((_, count)) => *count += 1,
            None => counts.push((item, 1)),
        }
    }
    let Some(most) = counts.iter().map(|(_, count)| *count).max() else { return Ok(Value::from(())) };
    Ok(counts.into_iter().filter(|(_, count)| *count == most).map(|(item, _)| item).collect())
}
