//! The commands, one a file.

mod answers;
pub mod bench;
pub mod combine;
pub mod data;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod inspect;
pub mod report;
pub mod shell;
pub mod train;
pub mod validate;
