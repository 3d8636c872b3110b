//! Fine-tuning methods for T5, and their files in Hugging Face PEFT's format.
//!
//! [`inject`] is the one place that tells methods apart: it hooks a method to a model and lays out what is
//! trained in one flat buffer. An adapter written here loads in Python's peft, and the other way round.

mod adapted;
mod error;
mod file;
mod lora;
mod method;
mod norms;
mod target;

pub use adapted::{Adapted, Initial, inject};
pub use error::{Error, Result};
pub use file::{AdapterFile, is_adapter};
pub use method::{FullOptions, LoraOptions, Method};
pub use target::TargetModules;
