//! What a config makes of its rows, before anything is trained on them.

mod preview;
mod stats;

use anyhow::Result;

use crate::args::DataCommand;

pub fn run(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Preview(arguments) => preview::run(arguments),
        DataCommand::Stats(arguments) => stats::run(arguments),
    }
}
