use candle_core::{Device, Tensor};

use crate::{
    AdamWKernel, AttentionKernel, ColumnsKernel, CrossEntropyKernel, DropoutKernel, ElementwiseKernel,
    EmbeddingKernel, GatedGeluKernel, MatmulKernel, PositionBiasKernel, ReluKernel, RmsNormKernel,
    RowsKernel,
    trace::{Clock, HostClock},
};

/// Where a kernel puts its result.
///
/// Whoever writes an input's gradient is told whether there is one already, so that products accumulate
/// (beta = 1) and nothing is zero-filled or added in a pass of its own.
#[derive(Debug)]
pub enum Dest {
    /// A fresh tensor of the operands' type, written whole.
    New,
    /// Added to this tensor in place, in its own type: gradients of bf16 weights gather in f32. It must have no
    /// other reader.
    Add(Tensor),
}

/// Values of scores, or of logits, that the kernels of a device hold at a time, at most.
pub const SCRATCH_VALUES: usize = 64 << 20;

/// Logits that a thread of the CPU holds at a time, at most, where the head is trained.
pub const HOST_LOGITS: usize = 8 << 20;

/// The bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What tensors could still take.
    pub free: usize,
    /// All of it.
    pub total: usize,
    /// The most that tensors took at a time so far.
    pub peak: usize,
}

/// The raw forward and backward kernels of every operation, on one kind of device.
///
/// The gradient formula of an operation stands once, beside its function; a kernel only computes. Every
/// operation declares its own small trait in its folder, and its implementations lie beside it.
///
/// Activations and frozen weights are all f32, or all bf16. Statistics, position biases by distance, losses
/// and the gradients of parameters are f32 always; sums run in f32, and a bf16 result is rounded once.
pub trait Kernels:
    AdamWKernel
    + AttentionKernel
    + ColumnsKernel
    + CrossEntropyKernel
    + DropoutKernel
    + ElementwiseKernel
    + EmbeddingKernel
    + GatedGeluKernel
    + MatmulKernel
    + PositionBiasKernel
    + ReluKernel
    + RmsNormKernel
    + RowsKernel
    + Send
    + Sync
{
    /// The name in logs and tests: `cpu`, `cuda`, `composed`.
    fn name(&self) -> &'static str;

    /// Where the tensors live.
    fn device(&self) -> &Device;

    /// What computes, as far as the last bits of a result depend on it: the vector instructions of a CPU, the
    /// name of a GPU.
    fn hardware(&self) -> String;

    /// How much memory the device has, where it is not the host's.
    fn memory(&self) -> Option<DeviceMemory> {
        None
    }

    /// Gives memory that is held in reserve back to the system, where the device does so.
    fn trim(&self) {}

    /// What tells the time in which the kernels run.
    fn clock(&self) -> Box<dyn Clock> {
        Box::new(HostClock)
    }
}
