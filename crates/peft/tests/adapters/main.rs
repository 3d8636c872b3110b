//! What holds for every method, and adapters on disk, on the tiny checkpoint of tests/golden.

mod files;
mod invariants;
mod mixed;
mod registry;
mod saving;
mod support;
