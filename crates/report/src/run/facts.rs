use serde::{Deserialize, Serialize};

/// What run.json holds: what is known of a run beside its config and its figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The version of tallow that began it.
    pub version: String,
    /// The method in words: `LoRA of rank 8 on q, v`.
    pub method: String,
    /// The values that are trained.
    pub trainable: usize,
    /// The values of the base.
    pub parameters: usize,
    /// From one start to its end, and after each resume again.
    pub parts: Vec<Part>,
}

/// What was done from a start, or a resume, to the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// The steps that were done before it.
    pub after_step: usize,
    /// When it began, as RFC 3339 has it, in UTC.
    pub started: String,
    /// How long it took, measuring included; none while it goes on, or if it was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What computed, in words.
    pub machine: String,
}
