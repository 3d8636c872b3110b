use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a model runs on a tape that records: it changes nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// The probability that an activation is dropped, on a tape with dropout.
    pub dropout: f64,
    /// What is computed again in backward.
    pub checkpointing: Checkpointing,
}

/// What backward computes again rather than keeps, beside what every operation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checkpointing {
    /// Nothing.
    #[default]
    None,
    /// Each block, of which only the input is kept: the forward pass is computed twice.
    Layer,
}

impl FromStr for Checkpointing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "layer" => Ok(Self::Layer),
            _ => Err("expected none or layer".to_owned()),
        }
    }
}
