//! `tallow`: fine-tunes FLAN-T5 with LoRA from one config file.

mod args;
mod cache;
mod commands;
mod compute;
mod config;
mod cores;
mod data;
mod facts;
mod given;
mod hub;
mod named;
mod progress;
mod prompt;
mod run;
mod survey;
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
    let arguments = Arguments::parse();
    progress::set(arguments.output.level());
    let result = match arguments.command {
        Command::Train(arguments) => commands::train::run(&arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(&arguments),
        Command::Generate(arguments) => commands::generate::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Combine(arguments) => commands::combine::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Validate(arguments) => commands::validate::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Data(command) => commands::data::run(&command),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Completions(arguments) => commands::shell::completions(&arguments),
        Command::Man(arguments) => commands::shell::man(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<run::Interrupted>() => {
            progress::insist(&error.to_string());
            ExitCode::from(INTERRUPTED)
        }
        // Whoever reads the output has seen enough, as `head`.
        Err(error) if error.is::<progress::Closed>() => ExitCode::SUCCESS,
        // What is wrong has been printed.
        Err(error) if error.is::<config::Invalid>() => ExitCode::from(MISUSED),
        Err(error) => {
            progress::error(&message(&error));
            let misused = error.is::<config::Problems>() || error.is::<given::Misuse>();
            ExitCode::from(if misused { MISUSED } else { FAILED })
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

/// What Unix says of a file, and what we say.
const SYSTEM: [(&str, &str); 5] = [
    ("No such file or directory (os error 2)", "no such file or folder"),
    ("Permission denied (os error 13)", "permission denied"),
    ("File exists (os error 17)", "a file is in the way"),
    ("Not a directory (os error 20)", "a part of this path is a file, not a folder"),
    ("No space left on device (os error 28)", "no space left on the disk"),
];

/// An error and its causes, without those that it quotes already.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // The system's own words end in a number that says nothing to people.
    for (theirs, ours) in SYSTEM {
        text = text.replace(theirs, ours);
    }
    // Where it ran out over rows, it has been explained already.
    if text.contains("CUDA_ERROR_OUT_OF_MEMORY") {
        text += ": the device has no room for the model and what is trained of it; take a smaller model, an adapter \
                 instead of every weight, or device = \"cpu\"";
    }
    text
}
