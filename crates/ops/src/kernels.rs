use candle_core::{Device, Tensor};

use crate::{
    AdamWKernel, AttentionKernel, CrossEntropyKernel, DropoutKernel, ElementwiseKernel, EmbeddingKernel,
    GatedGeluKernel, MatmulKernel, PositionBiasKernel, ReluKernel, RmsNormKernel,
};

/// Where a kernel puts its result.
///
/// Whoever writes an input's gradient is told whether there is one already, so that products accumulate
/// (beta = 1) and nothing is zero-filled or added in a pass of its own.
#[derive(Debug)]
pub enum Dest {
    /// A fresh tensor, written whole.
    New,
    /// Added to this tensor in place. It must have no other reader.
    Add(Tensor),
}

/// The raw forward and backward kernels of every operation, on one kind of device.
///
/// The gradient formula of an operation stands once, beside its function; a kernel only computes. Every
/// operation declares its own small trait in its folder, and its implementations lie beside it.
pub trait Kernels:
    AdamWKernel
    + AttentionKernel
    + CrossEntropyKernel
    + DropoutKernel
    + ElementwiseKernel
    + EmbeddingKernel
    + GatedGeluKernel
    + MatmulKernel
    + PositionBiasKernel
    + ReluKernel
    + RmsNormKernel
    + Send
    + Sync
{
    /// The name in logs and tests: `cpu`, `composed`.
    fn name(&self) -> &'static str;

    /// Where the tensors live.
    fn device(&self) -> &Device;
}
