//! A tape of fused differentiable operations over candle tensors.
//!
//! candle gives the tensors, the devices and the formats; this crate gives the training path. Each
//! operation is a free function: it computes its output through the tape's [`Kernels`] and records one
//! closure that turns the output's gradient into its inputs' gradients. A value without a slot is a
//! constant: no gradient is computed for it, and nothing below the lowest trainable tensor is recorded.
//!
//! Batches have no padding: a batch is one flat stream of tokens, and [`Segments`] says where each row
//! lies in it.
//!
//! ```
//! use std::sync::Arc;
//! use candle_core::{DType, Device, Tensor};
//! use tallow_ops::{Cpu, ParameterSpec, Parameters, Tape, Traced, linear};
//!
//! let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
//! let specs = vec![ParameterSpec::new("weight", weight)];
//! let parameters = Parameters::new(specs, &Device::Cpu, DType::F32)?;
//! let tape = Tape::new(Arc::new(Cpu));
//! let x = Traced::constant(Tensor::new(&[[1f32, 1.0]], &Device::Cpu)?);
//! let y = linear(&tape, &x, &parameters.traced(0))?;
//! assert_eq!(y.value().to_vec2::<f32>()?, [[3.0, 7.0]]);
//!
//! let gradients = parameters.gradients()?;
//! let dy = Tensor::new(&[[1f32, 10.0]], &Device::Cpu)?;
//! tape.backward(y, dy, &gradients)?;
//! assert_eq!(parameters.view(0, &gradients)?.to_vec2::<f32>()?, [[1.0, 1.0], [10.0, 10.0]]);
//! # Ok::<(), tallow_ops::Error>(())
//! ```

mod adamw;
mod attention;
mod columns;
mod composed;
mod concat_columns;
mod cpu;
mod cross_entropy;
#[cfg(feature = "cuda")]
mod cuda;
mod dropout;
mod elementwise;
mod embedding;
mod error;
mod gated_gelu;
mod kernels;
mod linear;
mod lora_linear;
mod matmul;
mod operation;
mod parameters;
mod position_bias;
mod prepend_rows;
mod relu;
mod replace_rows;
mod rms_norm;
mod rows;
mod segments;
mod selected;
mod tape;
pub mod trace;

pub use adamw::{AdamW, AdamWKernel, Buffers, Range, Step, Update};
pub use attention::{AttentionKernel, AttentionLayout, attention};
pub use columns::{ColumnsKernel, add_vector, mul_vector};
pub use composed::Composed;
pub use concat_columns::concat_columns;
pub use cpu::{Cpu, instructions, log_sum_exp};
pub use cross_entropy::{CrossEntropyKernel, CrossEntropyResult, Wanted, cross_entropy};
#[cfg(feature = "cuda")]
pub use cuda::{Cuda, CudaSettings};
pub use dropout::{DropoutKernel, Mask, Randomness, dropout};
pub use elementwise::{ElementwiseKernel, add, scale};
pub use embedding::{EmbeddingKernel, embedding};
pub use error::{Error, Result};
pub use gated_gelu::{GatedGeluKernel, gated_gelu};
pub use kernels::{Dest, DeviceMemory, HOST_LOGITS, Kernels, SCRATCH_VALUES};
pub use linear::linear;
pub use lora_linear::{Lora, lora_linear};
pub use matmul::{MatmulKernel, Matrix};
pub use operation::Operation;
pub use parameters::{Parameter, ParameterSpec, Parameters};
pub use position_bias::{PositionBiasKernel, position_bias};
pub use prepend_rows::prepend_rows;
pub use relu::{ReluKernel, relu};
pub use replace_rows::replace_rows;
pub use rms_norm::{Added, Normed, RmsNormKernel, add_rms_norm, rms_norm};
pub use rows::RowsKernel;
pub use segments::Segments;
pub use selected::Selected;
pub use tape::{Gradients, Tape, Target, Traced};

/// A tensor of one element, as a number: the host waits for the device.
///
/// # Errors
/// If it has more elements, or cannot be read.
pub fn number(x: &candle_core::Tensor) -> Result<f64> {
    // Widened on the host: Metal has no f64.
    Ok(x.reshape(())?.to_device(&candle_core::Device::Cpu)?.to_dtype(candle_core::DType::F64)?.to_scalar()?)
}
