//! T5 and FLAN-T5 over packed batches.
//!
//! The model computes on flat streams of tokens without padding, through the operations of `tallow-ops`. It
//! knows no fine-tuning method: a method hooks an [`Adapter`] to a [`Linear`], or trains any named weight.
//! Names are the checkpoint's: `encoder.block.0.layer.0.SelfAttention.q`.

mod attention;
mod batch;
mod cache;
mod config;
mod error;
mod feed_forward;
pub mod folder;
mod generate;
mod linear;
mod memory;
mod model;
mod position;
mod residual;
mod save;
mod stack;
pub mod tensors;
mod training;
mod weights;

pub use batch::Batch;
pub use cache::Cache;
pub use config::{Activation, Config};
pub use error::{Error, Result};
pub use generate::{EarlyStopping, GenerationOptions, SamplingOptions, generate};
pub use linear::{Adapter, Linear, Weight};
pub use memory::{Activations, Generation};
pub use model::T5;
pub use save::save;
pub use training::{Checkpointing, Training};
