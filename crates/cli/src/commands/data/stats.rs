use anyhow::Result;

use crate::args::StatsArguments;
use crate::config::load;
use crate::data::task_tokenizer;
use crate::progress;
use crate::survey::{Survey, Training, parts};

pub fn run(arguments: &StatsArguments) -> Result<()> {
    let config = load(&arguments.config.config, &arguments.config.overrides)?;
    let tokenizer = task_tokenizer(&config)?;
    let (mut surveys, mut known) = (Vec::new(), Training::default());
    for (name, rows) in parts(&config) {
        if let Some(rows) = rows? {
            surveys.push(Survey::of(name, &rows, &config, &tokenizer, &mut known)?);
        }
    }
    match arguments.json {
        true => progress::print(&serde_json::to_string(&surveys)?),
        false => progress::print(&surveys.iter().map(Survey::text).collect::<Vec<_>>().join("\n\n")),
    }
}
