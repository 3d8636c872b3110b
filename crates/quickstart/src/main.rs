//! Makes the data of the quick start from a seed: the rows in `data/quickstart`, the tasks that its tiny base is
//! trained on, and the base's tokenizer, configuration and first weights. Only maintainers run it; its results are
//! in the repository, apart from the tasks and the first weights.

mod dialogue;
mod init;
mod random;
mod rows;
mod scenes;
mod stats;
mod tasks;
mod tokenizer;
mod words;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The seed of what is in the repository.
const SEED: u64 = 1;

/// Makes the data of the quick start and what its tiny base is trained from.
#[derive(Parser)]
#[command(version)]
struct Command {
    /// Fixes every draw: the same seed gives the same files.
    #[arg(long, global = true, default_value_t = SEED)]
    seed: u64,
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Write train.jsonl, validation.jsonl and test.jsonl: dialogues with summaries.
    Rows {
        /// The folder for the files.
        #[arg(long, default_value = "data/quickstart")]
        out: PathBuf,
    },
    /// Write tasks.jsonl: prompts and targets over other dialogues, none of them a summary, to pre-train the base.
    Tasks {
        /// The folder for the file.
        #[arg(long)]
        out: PathBuf,
        /// How many tasks to draw.
        #[arg(long, default_value_t = 30_000)]
        rows: usize,
    },
    /// Train the tokenizer on the words of the rows and tasks, and write tokenizer.json.
    Tokenizer {
        /// The folder of the base.
        #[arg(long, default_value = "data/quickstart/base")]
        out: PathBuf,
    },
    /// Write config.json into the base, and a model with random weights to start the pre-training from.
    Init {
        /// The folder of the base, which has the tokenizer.
        #[arg(long, default_value = "data/quickstart/base")]
        base: PathBuf,
        /// The folder for the model with random weights.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        geometry: init::Geometry,
    },
    /// Print how long the rows are in tokens and how much of a summary stands in its dialogue.
    Stats {
        /// The folder of the base, which has the tokenizer.
        #[arg(long, default_value = "data/quickstart/base")]
        base: PathBuf,
    },
}

fn main() -> Result<()> {
    let Command { seed, step } = Command::parse();
    let scenes = scenes::Scenes::load()?;
    match step {
        Step::Rows { out } => rows::Rows::draw(&scenes, seed)?.write(&out),
        Step::Tasks { out, rows } => {
            rows::write_lines(&out.join("tasks.jsonl"), &tasks::draw(&scenes, seed, rows)?)
        }
        Step::Tokenizer { out } => {
            let tokenizer = tokenizer::make(&scenes, seed)?;
            tokenizer::save(&tokenizer, &out)?;
            println!("{} pieces", tokenizer.get_vocab_size(true));
            Ok(())
        }
        Step::Init { base, out, geometry } => {
            let pieces = tokenizer::load(&base)?.get_vocab_size(true);
            let parameters = init::write(&geometry, pieces, &base, &out, seed)?;
            println!("{parameters} parameters, {:.2} MB", 4e-6 * parameters as f64);
            Ok(())
        }
        Step::Stats { base } => {
            let rows = rows::Rows::draw(&scenes, seed)?;
            println!("{}", stats::Stats::measure(&scenes, &rows, &tokenizer::load(&base)?)?);
            Ok(())
        }
    }
}
