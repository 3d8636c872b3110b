//! The model on the tiny checkpoints of tests/golden: files, packing, dropout, cached decoding.

mod cache;
mod config;
mod files;
mod packing;
mod pickle;
mod support;
