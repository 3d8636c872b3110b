//! Folders of figures that transformers and peft computed, and what is held against them.

mod checks;
mod folder;

pub use checks::*;
pub use folder::{Golden, PaddedBatch, adapter_tensors, as_written, tensors};
