//! The training loop, and what measures its result.
//!
//! The loop knows neither the method nor the data set: it takes an adapted model and rows of tokens, and
//! tells its [`Observer`]s what happens. Everything random is a function of the seed and the step, so a run
//! that is stopped and resumed is the run that was never stopped.

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
