//! Fine-tuning methods for T5, and their files in Hugging Face PEFT's format.
//!
//! [`inject`] hooks a method to a model and lays out what is trained in one flat buffer. A method is one file here, and
//! one arm of the only branch that tells methods apart (`Method::kind`). An adapter written here loads in Python's peft, and the other way round.
//!
//! ```
//! use std::path::Path;
//!
//! use candle_core::{DType, Device};
//! use tallow_peft::{Adapted, Initial, LoraOptions, Method, inject};
//! use tallow_t5::T5;
//!
//! let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/quickstart/base"));
//! let model = T5::load(base, &Device::Cpu, DType::F32)?;
//! let method = Method::Lora(LoraOptions { rank: 4, ..Default::default() });
//! let adapted = inject(model.clone(), &method, Initial::Seed(1), DType::F32)?;
//! println!("{} of {} parameters are trained", adapted.parameters.trainable(), model.parameters());
//!
//! // adapter_model.safetensors and adapter_config.json, as peft has them.
//! let folder = tempfile::tempdir()?;
//! adapted.save(folder.path(), base, None)?;
//! let again = Adapted::load(model, folder.path())?;
//! assert_eq!(again.method, method);
//!
//! // For inference: the base with what was trained added to its weights.
//! tallow_t5::save(&again.model, base, None, &folder.path().join("merged"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapted;
mod attach;
mod bottleneck;
mod combine;
mod dora;
mod error;
mod file;
mod full;
mod ia3;
mod kind;
mod lora;
mod method;
mod mixed;
mod neighbours;
mod norms;
mod prefix;
mod prompt;
mod registry;
mod selective;
mod target;

pub use adapted::{Adapted, Initial, Sketch, inject, sketch};
pub use attach::attach;
pub use bottleneck::{AfterSublayer, BottleneckOptions, Reads};
pub use combine::{Combination, Combined, combine};
pub use dora::DoraOptions;
pub use error::{Error, Result};
pub use file::{AdapterFile, BaseName, is_adapter};
pub use full::FullOptions;
pub use ia3::Ia3Options;
pub use lora::{LoraOptions, LoraStart};
pub use method::Method;
pub use mixed::Mix;
pub use neighbours::{Neighbour, neighbours};
pub use prefix::{PrefixAttention, PrefixOptions};
pub use prompt::{PromptOptions, PromptStart};
pub use registry::Registry;
pub use selective::SelectiveOptions;
pub use target::TargetModules;
