//! `gpu-check`: whether the kernels of this machine's GPU compute what they should. Prints a table, and one JSON
//! object as its last line.

#[cfg(feature = "cuda")]
#[path = "gpu_check/check.rs"]
mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Checks the CUDA kernels of this binary on a GPU: every operation against candle's own on the same device, the golden
/// figures of transformers and peft, repeatability, and training against the CPU.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 all agree, or there is no GPU; 1 something differs or fails.")]
struct Arguments {
    /// The folder of golden folders
    #[arg(long, value_name = "DIR", default_value = "tests/golden")]
    goldens: PathBuf,
    /// A model's folder, to train
    #[arg(long, value_name = "DIR", default_value = "data/quickstart/base")]
    model: PathBuf,
    /// Dialogues to train it on
    #[arg(long, value_name = "FILE", default_value = "data/quickstart/train.jsonl")]
    rows: PathBuf,
    /// The GPU's number
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpu: usize,
    /// Small shapes only, and no training
    #[arg(long)]
    quick: bool,
    /// Draws the shapes that are tried beside the fixed ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Steps of training that are compared with the CPU
    #[arg(long, value_name = "N", default_value_t = 50)]
    steps: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gpu-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "cuda")]
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    match tallow_ops::Cuda::count() {
        Ok(0) => skip("no CUDA device"),
        Ok(_) => check::run(arguments),
        Err(error) => Err(anyhow::anyhow!("the CUDA driver does not work: {error}")),
    }
}

#[cfg(not(feature = "cuda"))]
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let Arguments { goldens: _, model: _, rows: _, gpu: _, quick: _, seed: _, steps: _ } = arguments;
    skip("built without CUDA (--features cuda)")
}

fn skip(why: &str) -> anyhow::Result<bool> {
    println!("{why}: skipped");
    println!("{}", serde_json::json!({ "skipped": why }));
    Ok(true)
}
