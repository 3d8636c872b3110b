use serde::{Deserialize, Serialize};

/// How the learning rate runs, as transformers' `get_scheduler` has it. Every one but `constant` rises
/// linearly over the warm-up first; with a warm-up, `constant` is its `constant_with_warmup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The same throughout.
    Constant,
    /// Falls to 0 at the last step.
    #[default]
    Linear,
    /// Falls to 0 along half a cosine.
    Cosine,
    /// Falls with the inverse square root of the step.
    InverseSqrt,
}

impl Schedule {
    /// What multiplies the learning rate at `step`, from 0, of `total`, `warmup` of them warm-up.
    pub fn factor(self, step: usize, warmup: usize, total: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let rest = total.saturating_sub(warmup).max(1) as f64;
        let done = (step - warmup) as f64 / rest;
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - done).max(0.0),
            Self::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * done).cos())).max(0.0),
            Self::InverseSqrt => {
                // The time scale is the warm-up's; without one, transformers takes 10,000 steps.
                let scale = if warmup == 0 { 10_000.0 } else { warmup as f64 };
                (((step - warmup) as f64 + scale) / scale).sqrt().recip()
            }
        }
    }
}
