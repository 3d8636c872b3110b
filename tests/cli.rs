//! End-to-end tests of the binary: what a run leaves, and what is said when something is wrong.

#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/data.rs"]
mod data;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/training.rs"]
mod training;
