use std::fmt;

/// The operations that a device has kernels for: the unit in which these are checked, and turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// The optimiser.
    AdamW,
    /// Attention over segments.
    Attention,
    /// Products and sums by column.
    Columns,
    /// The loss.
    CrossEntropy,
    /// Dropout.
    Dropout,
    /// Sums and multiples.
    Elementwise,
    /// Rows of a table.
    Embedding,
    /// The gated activation.
    GatedGelu,
    /// Matrix products.
    Matmul,
    /// The bias by distance.
    PositionBias,
    /// The plain activation.
    Relu,
    /// Normalisation, with the residual's sum.
    RmsNorm,
    /// Rows put into a cache.
    Rows,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::AdamW,
        Self::Attention,
        Self::Columns,
        Self::CrossEntropy,
        Self::Dropout,
        Self::Elementwise,
        Self::Embedding,
        Self::GatedGelu,
        Self::Matmul,
        Self::PositionBias,
        Self::Relu,
        Self::RmsNorm,
        Self::Rows,
    ];

    /// Those whose CUDA kernels have passed `gpu-check` on a GPU: none so far. The others are off unless asked for;
    /// docs/cuda.md lists them.
    pub const VERIFIED_ON_CUDA: &'static [Self] = &[];

    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Attention => "attention",
            Self::Columns => "columns",
            Self::CrossEntropy => "cross_entropy",
            Self::Dropout => "dropout",
            Self::Elementwise => "elementwise",
            Self::Embedding => "embedding",
            Self::GatedGelu => "gated_gelu",
            Self::Matmul => "matmul",
            Self::PositionBias => "position_bias",
            Self::Relu => "relu",
            Self::RmsNorm => "rms_norm",
            Self::Rows => "rows",
        }
    }

    /// The operation of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
