//! T5 and FLAN-T5 over packed batches.
//!
//! The model computes on flat streams of tokens without padding, through the operations of `tallow-ops`. It
//! knows no fine-tuning method: a method takes part at the places of `hooks.rs`, or trains any named weight.
//! Names are the checkpoint's: `encoder.block.0.layer.0.SelfAttention.q`.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use candle_core::{DType, Device};
//! use tallow_ops::{Cpu, Tape};
//! use tallow_t5::{GenerationOptions, T5, generate};
//!
//! // Any folder with config.json and model.safetensors or its shards.
//! let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/quickstart/base"));
//! let model = T5::load(folder, &Device::Cpu, DType::F32)?;
//! println!("{} parameters", model.parameters());
//!
//! // Two prompts of different lengths, in tokens that end with the end token; no padding between them.
//! let prompts = [(0, vec![40, 41, 42, 1]), (1, vec![50, 51, 1])];
//! let options = GenerationOptions { max_new_tokens: 5, ..Default::default() };
//! let tape = Tape::off(Arc::new(Cpu));
//! let answers = generate(&model, &tape, &prompts, &options)?;
//! assert!(answers.iter().all(|answer| answer.len() <= 5));
//! # Ok::<(), tallow_t5::Error>(())
//! ```

mod attention;
mod batch;
mod cache;
mod config;
mod error;
mod feed_forward;
pub mod folder;
mod generate;
mod hooks;
mod linear;
mod memory;
mod merge;
mod model;
mod pickle;
mod position;
mod residual;
mod save;
mod shards;
mod stack;
mod stream;
pub mod tensors;
mod training;
mod weights;

pub use batch::Batch;
pub use cache::Cache;
pub use config::{Activation, Config};
pub use error::{Error, Result};
pub use generate::{EarlyStopping, GenerationOptions, SamplingOptions, generate};
pub use hooks::{
    Adapter, AroundProduct, EmbeddingAdapter, EmbeddingPlace, HeadAdapter, Keeps, OutputAdapter, OutputPlace,
    Prefix, PrefixPlace, Sublayer,
};
pub use linear::{Linear, Weight};
pub use memory::{Activations, Generation};
pub use merge::Merged;
pub use model::{Encoded, T5, TrainedHead};
pub use save::{MOST_SHARD_BYTES, save, save_in_shards};
pub use stream::Stream;
pub use training::{Checkpointing, Training};
