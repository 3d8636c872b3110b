//! What holds for every method, and adapters on disk, on the tiny checkpoint of tests/golden.

mod combining;
mod files;
mod invariants;
mod merging;
mod methods;
mod mixed;
mod registry;
mod saving;
mod support;
