//! `tallow`: fine-tunes FLAN-T5 with LoRA from one config file.

mod args;
mod cache;
mod commands;
mod compute;
mod config;
mod data;
mod facts;
mod progress;
mod run;
mod tensorboard;
#[cfg(feature = "cuda")]
mod verified;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// Exit codes, as the help text lists them.
const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    plain_errors();
    let result = match Arguments::parse().command {
        Command::Train(arguments) => commands::train::run(&arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(&arguments),
        Command::Generate(arguments) => commands::generate::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Data(command) => commands::data::run(&command),
        Command::Bench(arguments) => commands::bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<run::Interrupted>() => {
            progress::say(&error.to_string());
            ExitCode::from(INTERRUPTED)
        }
        // Whoever reads the output has seen enough, as `head`.
        Err(error) if error.is::<progress::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(&format!("error: {}", message(&error)));
            ExitCode::from(if error.is::<config::Problems>() { MISUSED } else { FAILED })
        }
    }
}

/// candle puts an error's backtrace into its text where RUST_BACKTRACE is set; RUST_LIB_BACKTRACE=1 leaves it there.
fn plain_errors() {
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
}

/// An error and its causes, without those that it quotes already.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // Where it ran out over rows, it has been explained already.
    if text.contains("CUDA_ERROR_OUT_OF_MEMORY") {
        text += ": the device has no room for the model and what is trained of it; take a smaller model, an adapter \
                 instead of every weight, or device = \"cpu\"";
    }
    text
}
