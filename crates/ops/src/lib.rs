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
//! use candle_core::{Device, Tensor};
//! use tallow_ops::{Cpu, ParameterSpec, Parameters, Tape, Traced, linear};
//!
//! let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
//! let parameters = Parameters::new(vec![ParameterSpec::new("weight", weight)], &Device::Cpu)?;
//! let tape = Tape::new(Arc::new(Cpu));
//! let x = Traced::constant(Tensor::new(&[[1f32, 1.0]], &Device::Cpu)?);
//! let y = linear(&tape, &x, &parameters.traced(0), None)?;
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
mod composed;
mod cpu;
mod cross_entropy;
mod dropout;
mod elementwise;
mod embedding;
mod error;
mod gated_gelu;
mod kernels;
mod linear;
mod lora_linear;
mod matmul;
mod parameters;
mod position_bias;
mod relu;
mod rms_norm;
mod segments;
mod tape;
pub mod trace;

pub use adamw::{AdamW, AdamWKernel, Update};
pub use attention::{AttentionKernel, AttentionLayout, attention};
pub use composed::Composed;
pub use cpu::{Cpu, instructions};
pub use cross_entropy::{CrossEntropyKernel, CrossEntropyResult, Wanted, cross_entropy};
pub use dropout::{DropoutKernel, Mask, Randomness, dropout};
pub use elementwise::{ElementwiseKernel, scale};
pub use embedding::{EmbeddingKernel, embedding};
pub use error::{Error, Result};
pub use gated_gelu::{GatedGeluKernel, gated_gelu};
pub use kernels::{Dest, Kernels};
pub use linear::linear;
pub use lora_linear::{Lora, lora_linear};
pub use matmul::{MatmulKernel, Matrix};
pub use parameters::{Parameter, ParameterSpec, Parameters};
pub use position_bias::{PositionBiasKernel, position_bias};
pub use relu::{ReluKernel, relu};
pub use rms_norm::{RmsNormKernel, rms_norm};
pub use segments::Segments;
pub use tape::{Gradients, Tape, Target, Traced};
