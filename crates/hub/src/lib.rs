//! Models, adapters and files of data sets on the Hugging Face Hub, by names such as `hf://google/flan-t5-small`.
//!
//! A [`Hub`] makes local paths of names. Files lie in the cache that Python's huggingface_hub uses, in its layout, so
//! each finds what the other has fetched. hf-hub gives the repositories' names, URLs, listings and places in the cache;
//! files are fetched here, since that can go on where a connection was cut, and checks what came.

mod download;
mod error;
mod hub;
mod name;
mod remote;
mod settings;
mod store;
mod wanted;

pub use error::{Error, Result};
pub use hub::{Hub, Position, Watcher};
pub use name::{Kind, Name, is_name};
pub use settings::{Settings, Token};
pub use wanted::Wanted;
