//! A method that is given on the command line.

use std::path::Path;

use anyhow::{Result, bail};
use tallow_peft::Method;
use toml::{Table, Value};

use super::check::check;
use super::problems::{Given, Problem};
use super::{Problems, Reads, read};
use crate::given::Misuse;

/// The method of `text`: that of a config file, or of a run's folder, where there is such, else TOML, `kind = "dora", rank = 4`.
///
/// # Errors
/// [`Problems`] that lists everything that is wrong with it.
pub fn method(text: &str) -> Result<Method> {
    let path = Path::new(text);
    if path.exists() || text.ends_with(".toml") {
        let (config, mut problems) = read(path, &[], Reads::Nothing)?;
        problems.found.retain(|problem| problem.key.is_empty() || problem.is_in("method"));
        return match config {
            Some(config) if problems.found.is_empty() => Ok(config.method),
            _ => Err(problems.into()),
        };
    }
    let body = text.trim().trim_start_matches('{').trim_end_matches('}');
    let table = format!("method = {{{body}}}").parse::<Table>().ok();
    let Some(Value::Table(method)) = table.and_then(|mut table| table.remove("method")) else {
        bail!(Misuse(format!(
            "--method {text}: neither a config file nor TOML; a method is as 'kind = \"dora\", rank = 4'"
        )))
    };
    match of_table(method) {
        (Some(method), problems) if problems.found.is_empty() => Ok(method),
        (_, problems) => Err(problems.into()),
    }
}

/// The method of a section, and what is wrong with it.
fn of_table(method: Table) -> (Option<Method>, Problems) {
    // Whatever else a config needs.
    let others = "name = \"method\"\nmodel = { path = \"model\" }\ntraining = { steps = 1 }\n\
                  [[task]]\nname = \"task\"\ntrain = \"rows.jsonl\"\ntemplate = \"alpaca\"\n";
    let mut config: Table = others.parse().expect("it is TOML");
    config.insert("method".to_owned(), Value::Table(method));
    let (config, found) = check(Value::Table(config));
    let problem = |(key, what): (String, String)| Problem {
        given: Given::Elsewhere,
        key: key.strip_prefix("method.").unwrap_or(&key).to_owned(),
        what,
    };
    let found = found.into_iter().map(problem).collect();
    (config.map(|config| config.method), Problems { of: "--method".to_owned(), found })
}
