//! The training loop on the tiny checkpoint of tests/golden.

mod checkpoints;
mod failures;
mod generation;
mod gradients;
mod learning;
mod metrics;
mod options;
mod precision;
mod resume;
mod support;
mod updates;
