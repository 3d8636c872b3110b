use candle_core::{DType, Shape};

/// What an operation can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// candle refused an allocation, a copy or a shape.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A tensor that a fused kernel cannot read as it lies.
    #[error("{kernels} kernels read contiguous {wanted:?} tensors, not {found:?} {shape:?}")]
    Unsupported {
        /// The kernels that were asked.
        kernels: &'static str,
        /// The element type they read.
        wanted: DType,
        /// The element type of the tensor.
        found: DType,
        /// The tensor's shape.
        shape: Shape,
    },
    /// A GPU that the kernels are not made for.
    #[error(
        "{name} has compute capability {major}.{minor}; CUDA is used from 8.0 on (Ampere, the first with bf16): give \
         device = \"cpu\""
    )]
    OldGpu {
        /// The GPU.
        name: String,
        /// Its compute capability, before the point.
        major: i32,
        /// And after it.
        minor: i32,
    },
    /// Operands whose shapes do not go together.
    #[error("{op}: {what}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What was found and what was expected.
        what: String,
    },
}

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn shape(op: &'static str, what: impl Into<String>) -> Self {
        Self::Shape { op, what: what.into() }
    }
}
