mod numbers;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use tallow_data::Newlines;
use tallow_t5::{Checkpointing, EarlyStopping};

use crate::config::{ComputeOptions, KernelChoice, MOST_THREADS, Place, Precision};
use crate::data::{TEST, TRAINING, VALIDATION};
use crate::named::NamedAdapter;
use crate::progress::Level;

use self::numbers::{from, number, seed, within};

/// As in a config.
fn newlines(text: &str) -> Result<Newlines, String> {
    let known = [Newlines::Blank, Newlines::Targets, Newlines::Both];
    let found = known.into_iter().find(|value| serde_json::to_value(value).is_ok_and(|name| name == text));
    found.ok_or_else(|| "give blank, targets or both".to_owned())
}

const EXIT_CODES: &str = "Models, adapters and rows may be on the Hugging Face Hub: hf://google/flan-t5-small, \
                          hf://datasets/OWNER/NAME/FILE, see docs/config.md.\n\nExit codes: 0 done; 1 failed; 2 a wrong command line or config; 130 interrupted.";

/// Fine-tunes FLAN-T5 with LoRA: one config file in, an adapter in PEFT's format out.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// How much is said.
#[derive(Args)]
pub struct OutputArguments {
    /// Print errors and the result alone
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print what is loaded and when, what computes, and the memory that it took
    #[arg(short, long, global = true)]
    verbose: bool,
}

impl OutputArguments {
    pub fn level(&self) -> Level {
        match (self.quiet, self.verbose) {
            (true, _) => Level::Quiet,
            (_, true) => Level::Verbose,
            _ => Level::Normal,
        }
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Train what a config file describes, and measure it before and after
    Train(TrainArguments),
    /// Check a config, its model and all its rows, and foresee memory and time, without training
    Validate(ValidateArguments),
    /// Generate for held-out rows and print ROUGE
    Evaluate(EvaluateArguments),
    /// Write text for prompts, with or without an adapter
    Generate(Box<GenerateArguments>),
    /// Merge an adapter into its base: a Hugging Face folder
    Export(ExportArguments),
    /// Make one LoRA adapter of several, by weights
    Combine(CombineArguments),
    /// Show what a model, an adapter, a config or a run holds, and the memory that it takes
    Inspect(InspectArguments),
    /// Draw a run's report.html anew, or several runs side by side
    Report(ReportArguments),
    /// Show what a config makes of its rows
    #[command(subcommand)]
    Data(DataCommand),
    /// Time training, or generation, over a file of tokenised batches
    Bench(BenchArguments),
    /// Print what makes a shell complete these commands and options
    Completions(CompletionsArguments),
    /// Print the manual page, or write one for each command
    Man(ManArguments),
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct CompletionsArguments {
    /// The shell
    pub shell: Shell,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ManArguments {
    /// Write tallow.1, tallow-train.1 and so on to this folder [default: print tallow.1]
    pub folder: Option<PathBuf>,
}

/// Show what a config makes of its rows
#[derive(Subcommand)]
pub enum DataCommand {
    /// Print rows as the model gets them: prompt, target, tokens
    Preview(PreviewArguments),
    /// Count lengths, what is cut, templates, what the vocabulary cannot write, and repeated rows
    Stats(StatsArguments),
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct PreviewArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Print so many rows
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = from(0))]
    pub rows: usize,
    /// Of which rows
    #[arg(long, value_enum, default_value_t = Part::Training)]
    pub part: Part,
    /// As a line of JSON a row
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct StatsArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// A part of a task's rows.
#[derive(Clone, Copy, ValueEnum)]
pub enum Part {
    Training,
    Validation,
    Test,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => TRAINING,
            Self::Validation => VALIDATION,
            Self::Test => TEST,
        }
    }
}

/// Of whose model; an adapter names its base.
fn what() -> ArgGroup {
    ArgGroup::new("what").args(["model", "run", "adapter"]).required(true).multiple(true)
}

/// Where and how to compute.
#[derive(Args, Default)]
pub struct ComputeArguments {
    /// Where to compute: auto, cpu, cuda:0 or metal [default: a run's own, or auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<Place>,
    /// The type to compute in: auto, f32 or bf16 [default: a run's own, or auto]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Precision>,
    /// On a GPU, round the operands of f32 products to TF32
    #[arg(long)]
    pub tf32: bool,
    /// Whose kernels on an NVIDIA GPU: verified, all or composed [default: a run's own, or verified]
    #[arg(long, value_name = "WHICH")]
    pub kernels: Option<KernelChoice>,
}

impl ComputeArguments {
    /// These, and the run's where nothing is said.
    pub fn over(&self, run: ComputeOptions) -> ComputeOptions {
        ComputeOptions {
            device: self.device.unwrap_or(run.device),
            dtype: self.dtype.unwrap_or(run.dtype),
            tf32: self.tf32 || run.tf32,
            kernels: self.kernels.unwrap_or(run.kernels),
        }
    }
}

/// A config file, and changes to it.
#[derive(Args)]
pub struct ConfigArguments {
    /// The run's TOML file, see configs/ and docs/config.md; or the folder that a run has left
    pub config: PathBuf,
    /// Changes to any key of the config: training.steps=50 'method.target_modules=["q", "k", "v"]'
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct TrainArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Go on from the newest checkpoint of the run's folder
    #[arg(long)]
    pub resume: bool,
    /// Print the figures before and after as one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ValidateArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Print one JSON object instead of a list
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct EvaluateArguments {
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The adapter to measure [default: the one in the run's folder]
    #[arg(long, value_name = "DIR", conflicts_with = "base")]
    pub adapter: Option<PathBuf>,
    /// Measure the base without an adapter
    #[arg(long)]
    pub base: bool,
    /// Write each row's prompt, prediction and references to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES, group = what())]
pub struct GenerateArguments {
    /// The model's folder [default: the base that the adapter names]
    #[arg(long, value_name = "DIR", conflicts_with = "run")]
    pub model: Option<PathBuf>,
    /// An adapter's folder [default: the run's, or none]; or several by names, each NAME=DIR, whose answers are computed
    /// together: every prompt is answered by each of them, unless --adapter-of is given
    #[arg(long, value_name = "[NAME=]DIR")]
    pub adapter: Vec<NamedAdapter>,
    /// The column of the rows that names the adapter to answer by, one of --adapter NAME=DIR; where it is empty, the model
    /// without an adapter answers
    #[arg(long, value_name = "COLUMN", requires_all = ["adapter", "file"])]
    pub adapter_of: Option<String>,
    /// A run's folder: its model, tokenizer, adapter, template and generation settings
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// The tokenizer.json, if it is not in the model's folder
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// The prompt; without it and --file, standard input is one prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub prompt: Option<String>,
    /// A file: rows for a template (.jsonl, .json, .csv, .tsv, .parquet), or text that is one prompt
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The template set that makes prompts of rows: a name, or a file (.toml, .yaml) [default: the run's]
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with_all = ["prompt", "lines"])]
    pub template: Option<String>,
    /// Every line of the text is a prompt of its own
    #[arg(long)]
    pub lines: bool,
    /// Print a line of JSON for each answer instead of its text: prompt, prediction, and the adapter's name where it has one
    #[arg(long)]
    pub json: bool,
    /// What line breaks are to the model: blank, targets or both, as it was trained [default: the run's, or blank]
    #[arg(long, value_name = "WHAT", value_parser = newlines)]
    pub newlines: Option<Newlines>,
    /// At most so many new tokens
    #[arg(long, value_name = "N", value_parser = from(1))]
    pub max_new_tokens: Option<usize>,
    /// At least so many new tokens
    #[arg(long, value_name = "N", value_parser = from(0))]
    pub min_new_tokens: Option<usize>,
    /// No n-gram of this size twice
    #[arg(long, value_name = "N", value_parser = from(0))]
    pub no_repeat_ngram_size: Option<usize>,
    /// Divides the logits of tokens that occurred
    #[arg(long, value_name = "X", value_parser = number::<f32>)]
    pub repetition_penalty: Option<f32>,
    /// Follow so many sequences at a time
    #[arg(long, value_name = "N", value_parser = from(1))]
    pub num_beams: Option<usize>,
    /// Of beam search: divide log-probabilities by the length to this power
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub length_penalty: Option<f64>,
    /// Of beam search: stop at as many finished sequences as beams: true, false or never
    #[arg(long, value_name = "WHEN")]
    pub early_stopping: Option<EarlyStopping>,
    /// Draw tokens at random, at this temperature
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub temperature: Option<f64>,
    /// Draw among the most likely so many
    #[arg(long, value_name = "N", value_parser = from(1))]
    pub top_k: Option<usize>,
    /// Draw among the most likely that together have this probability
    #[arg(long, value_name = "P", value_parser = number::<f64>)]
    pub top_p: Option<f64>,
    /// Draw tokens at random, the same ones for the same seed
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// Prompts are cut to so many tokens [default: the run's, or 512]
    #[arg(long, value_name = "N", value_parser = from(2))]
    pub max_source_tokens: Option<usize>,
    /// Rows that a thread generates for at a time [default: the run's, or 16]
    #[arg(long, value_name = "N", value_parser = from(1))]
    pub batch_size: Option<usize>,
    /// Threads; 0 takes one for each core [default: the run's, or 0]
    #[arg(long, value_name = "N", value_parser = within(0..=MOST_THREADS))]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub compute: ComputeArguments,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES, group = what())]
pub struct ExportArguments {
    /// The base model's folder [default: the one that the adapter names]
    #[arg(long, value_name = "DIR", requires = "adapter", conflicts_with = "run")]
    pub model: Option<PathBuf>,
    /// The adapter's folder [default: the run's]
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// A run's folder: its model and adapter
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// The folder to write; it must not exist
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

/// How adapters are combined.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum CombinationMethod {
    /// Sums of A's and of B's, at their own rank: rough, since A's meet the others' B's
    Linear,
    /// The exact sum of the updates, at the sum of the ranks
    Concatenation,
    /// The sum of the updates, cut to --rank by singular values
    Svd,
    /// The largest values of each, where signs agree (Yadav et al. 2023)
    Ties,
    /// Values dropped at random and the others scaled, then summed (Yu et al. 2023)
    Dare,
    /// Values dropped at random and the others scaled, where signs agree
    DareTies,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct CombineArguments {
    /// LoRA adapters of one base, each --adapter DIR
    #[arg(long, value_name = "DIR", required = true)]
    pub adapter: Vec<PathBuf>,
    /// Their weights, in the same order; negative ones take away [default: 1 for each]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub weight: Vec<f64>,
    /// How
    #[arg(long, value_enum, default_value_t = CombinationMethod::Concatenation)]
    pub method: CombinationMethod,
    /// Of svd, ties and dare: combine whole updates, and cut them to this rank [default of svd: the greatest of the
    /// adapters'; of the others: combine A's and B's]
    #[arg(long, value_name = "N", value_parser = from(1))]
    pub rank: Option<usize>,
    /// Of ties and dare: the part of the values that is kept [default: 0.5]
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub density: Option<f64>,
    /// Of dare: what is dropped is drawn from it [default: 0]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// The folder to write; it must not exist
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct InspectArguments {
    /// A model's or an adapter's folder, a run's TOML file, or a run's folder
    pub path: PathBuf,
    /// Changes to keys of the config: training.batch_size=16
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// An adapter's base [default: the one that its config names]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Of a model or an adapter: rows to a batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = from(1))]
    pub batch_size: usize,
    /// Of a model or an adapter: tokens to a prompt
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = from(1))]
    pub source_tokens: usize,
    /// Of a model or an adapter: tokens to a target
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = from(1))]
    pub target_tokens: usize,
    /// Of a model or an adapter: threads; 0 takes one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = within(0..=MOST_THREADS))]
    pub threads: usize,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ReportArguments {
    /// Folders that runs have left
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The page to write [default: report.html in the run's folder; of several runs it has to be given]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the figures as one JSON object, and write no page unless --output is given
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct BenchArguments {
    /// The model's folder
    pub model: PathBuf,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(help = r#"JSON lines, a batch each: {"source": [[ids]], "target": [[ids]]}"#)]
    pub batches: PathBuf,
    /// The adapter to start from [default: a fresh one]
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Steps that are timed
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = from(1))]
    pub steps: usize,
    /// Steps before them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = from(0))]
    pub warmup: usize,
    /// The rank of a fresh adapter
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = from(1))]
    pub rank: usize,
    /// The alpha of a fresh adapter
    #[arg(long, value_name = "X", default_value_t = 32.0, value_parser = number::<f64>)]
    pub alpha: f64,
    /// The layers of a fresh adapter
    #[arg(long, value_name = "NAME", num_args = 1.., default_values = ["q", "v"])]
    pub targets: Vec<String>,
    /// Train every weight instead
    #[arg(long, conflicts_with = "adapter")]
    pub full: bool,
    /// What backward computes again, to need less memory: none or layer
    #[arg(long, value_name = "WHAT", default_value = "none", conflicts_with = "generate")]
    pub checkpointing: Checkpointing,
    /// Time text of at most so many tokens for the batches' sources instead
    #[arg(long, value_name = "N", conflicts_with_all = ["full", "lr", "rank", "alpha", "targets"], value_parser = from(1))]
    pub generate: Option<usize>,
    /// Beams of that
    #[arg(long, value_name = "N", default_value_t = 1, requires = "generate", value_parser = from(1))]
    pub beams: usize,
    /// The learning rate
    #[arg(long, value_name = "X", default_value_t = 1e-3, value_parser = number::<f64>)]
    pub lr: f64,
    /// Threads; 0 takes one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = within(0..=MOST_THREADS))]
    pub threads: usize,
    #[command(flatten)]
    pub compute: ComputeArguments,
    /// Print a table of time by operation to standard error: for each step, its calls, launches of kernels, milliseconds of
    /// wall time, their share, and the rate of its products
    #[arg(long)]
    pub trace: bool,
}
