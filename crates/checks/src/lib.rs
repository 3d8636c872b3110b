//! What a device's kernels have to hold: every operation against candle's own, the whole model against what
//! transformers and peft computed, training against the CPU. The tests use it on a CPU, `gpu-check` on a GPU, and
//! `tallow` a little of it at its first use on a machine.

pub mod compare;
pub mod golden;
pub mod operations;
pub mod training;
