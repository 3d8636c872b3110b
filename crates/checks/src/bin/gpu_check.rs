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
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // candle puts an error's backtrace into its text. SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
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
        Ok(count) if count <= arguments.gpu => {
            anyhow::bail!("--gpu {}: the last CUDA device is {}", arguments.gpu, count - 1)
        }
        Ok(_) => {
            let Arguments { goldens, model, rows, .. } = arguments;
            let needed = if arguments.quick { vec![goldens] } else { vec![goldens, model, rows] };
            match needed.into_iter().find(|path| !path.exists()) {
                Some(path) => {
                    anyhow::bail!("{} is not there: run it in the repository's folder", path.display())
                }
                None => check::run(arguments),
            }
        }
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
