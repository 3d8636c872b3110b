//! The training loop, and what measures its result.
//!
//! The loop knows neither the method nor the data set: it takes an adapted model and rows of tokens, and
//! tells its [`Observer`]s what happens. Everything random is a function of the seed and the step, so a run
//! that is stopped and resumed is the run that was never stopped.
//!
//! From rows of a file to an adapter:
//!
//! ```
//! use std::path::Path;
//! use std::sync::atomic::AtomicBool;
//!
//! use candle_core::{DType, Device};
//! use tallow_data::{Limits, Prompts, Rows, Samples, Targets, TemplateSet, Tokenizer};
//! use tallow_peft::{Initial, LoraOptions, Method, inject};
//! use tallow_t5::{GenerationOptions, T5};
//! use tallow_train::{Engine, Outcome, Trainer, TrainingOptions};
//!
//! let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/quickstart"));
//! let base = data.join("base");
//!
//! let prompts = Prompts::new(TemplateSet::named("dialogue-summary")?, Targets::Template, 1);
//! let rows = Rows::open(&data.join("train.jsonl"))?.take(16);
//! let examples = prompts.examples(rows)?;
//! let tokenizer = Tokenizer::from_file(&base.join("tokenizer.json"))?;
//! let (rows, stats) = tokenizer.tokenize(&examples[..], Limits { source: 512, target: 128 })?;
//! println!("{stats}");
//!
//! let model = T5::load(&base, &Device::Cpu, DType::F32)?;
//! let method = Method::Lora(LoraOptions::default());
//! let mut adapted = inject(model, &method, Initial::Seed(1), DType::F32)?;
//! let options = TrainingOptions { steps: Some(3), batch_size: Some(4), ..Default::default() };
//! let engine = Engine::cpu(2);
//! let outcome = Trainer {
//!     adapted: &mut adapted,
//!     engine: &engine,
//!     options: &options,
//!     seed: 1,
//!     rows: &rows,
//!     origin: &|row| examples[row].origin.to_string(),
//!     validation: &Samples::default(),
//!     checkpoints: None,
//!     stop: &AtomicBool::new(false),
//! }
//! .run(None, &mut [])?;
//! assert!(matches!(outcome, Outcome::Finished(progress) if progress.step == 3));
//!
//! let folder = tempfile::tempdir()?;
//! adapted.save(&folder.path().join("adapter"), &base, None)?;
//!
//! let ids = tokenizer.encode(&examples[0].prompt, 512)?.ids;
//! let options = GenerationOptions { max_new_tokens: 20, ..Default::default() };
//! let answers = engine.generate(&adapted.model, &[&ids], &options, 16, &|_| ())?;
//! println!("{}", tokenizer.decode(&answers[0])?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod engine;
mod error;
mod evaluate;
mod fit;
mod memory;
mod observer;
mod options;
mod product_rate;
mod schedule;
mod trainer;

pub use checkpoint::{Checkpoint, Checkpoints, Progress};
pub use engine::Engine;
pub use error::{Error, Result};
pub use evaluate::{Answer, Evaluation, Scores, answers, mean_loss, score};
pub use fit::{TOKENS_ON_HOST, largest_batch};
pub use memory::{GenerationMemory, TrainingMemory, resident_memory};
pub use observer::{MetricsLog, Observer, StepReport};
pub use options::{Auto, BatchTokens, TrainingOptions};
pub use schedule::Schedule;
pub use trainer::{Outcome, Trainer};
