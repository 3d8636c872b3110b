//! End-to-end tests of the binary: what a run leaves, and what is said when something is wrong.

#[path = "cli/adapters.rs"]
mod adapters;
#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/data.rs"]
mod data;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/hub.rs"]
mod hub;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/methods.rs"]
mod methods;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/templates.rs"]
mod templates;
#[path = "cli/training.rs"]
mod training;
#[path = "cli/validate.rs"]
mod validate;
#[path = "cli/wrong_inputs.rs"]
mod wrong_inputs;
