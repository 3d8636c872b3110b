use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::adamw::{AdamWKernel, Buffers, Range, Step};
use crate::attention::{AttentionGradients, AttentionKernel, AttentionLayout, AttentionSaved};
use crate::cross_entropy::{CrossEntropyKernel, CrossEntropyResult, Wanted};
use crate::rms_norm::{Added, Normed};
use crate::trace::Clock;
use crate::{
    ColumnsKernel, Composed, Dest, DeviceMemory, DropoutKernel, ElementwiseKernel, EmbeddingKernel,
    GatedGeluKernel, Kernels, Mask, MatmulKernel, Matrix, Operation, PositionBiasKernel, ReluKernel, Result,
    RmsNormKernel, RowsKernel,
};

/// A device's own kernels for some operations, and candle's operations for the others.
pub struct Selected {
    own: Arc<dyn Kernels>,
    composed: Composed,
    selected: BTreeSet<Operation>,
}

impl Selected {
    /// `own` kernels for the `selected` operations.
    pub fn new(own: Arc<dyn Kernels>, selected: impl IntoIterator<Item = Operation>) -> Self {
        let composed = Composed::new(own.device().clone());
        Self { own, composed, selected: selected.into_iter().collect() }
    }

    fn of(&self, operation: Operation) -> &dyn Kernels {
        if self.selected.contains(&operation) { &*self.own } else { &self.composed }
    }
}

impl Kernels for Selected {
    fn name(&self) -> &'static str {
        self.own.name()
    }

    fn device(&self) -> &Device {
        self.own.device()
    }

    fn hardware(&self) -> String {
        let all = self.selected.len() == Operation::ALL.len();
        let names = || self.selected.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(", ");
        match (all, self.selected.is_empty()) {
            (true, _) => self.own.hardware(),
            (_, true) => format!("{}, composed kernels", self.own.hardware()),
            _ => format!("{}, own kernels for {}", self.own.hardware(), names()),
        }
    }

    fn memory(&self) -> Option<DeviceMemory> {
        self.own.memory()
    }

    fn trim(&self) {
        self.own.trim();
    }

    fn clock(&self) -> Box<dyn Clock> {
        self.own.clock()
    }
}

impl AdamWKernel for Selected {
    fn adamw(&self, buffers: Buffers, ranges: &[Range], step: Step) -> Result<()> {
        self.of(Operation::AdamW).adamw(buffers, ranges, step)
    }

    fn sum_of_squares(&self, x: &Tensor) -> Result<Tensor> {
        self.of(Operation::AdamW).sum_of_squares(x)
    }
}

impl AttentionKernel for Selected {
    fn attention(
        &self,
        layout: &AttentionLayout,
        qkv: [&Tensor; 3],
        bias: Option<&Tensor>,
        mask: Option<Mask>,
    ) -> Result<(Tensor, Tensor)> {
        self.of(Operation::Attention).attention(layout, qkv, bias, mask)
    }

    fn attention_backward(
        &self,
        layout: &AttentionLayout,
        saved: AttentionSaved,
        dy: &Tensor,
        wanted: [bool; 4],
    ) -> Result<AttentionGradients> {
        self.of(Operation::Attention).attention_backward(layout, saved, dy, wanted)
    }
}

impl ColumnsKernel for Selected {
    fn mul_columns(&self, dest: Dest, x: &Tensor, factors: &Tensor, by: Option<&Tensor>) -> Result<Tensor> {
        self.of(Operation::Columns).mul_columns(dest, x, factors, by)
    }

    fn add_columns(&self, x: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.of(Operation::Columns).add_columns(x, b)
    }

    fn sum_columns(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: Option<&Tensor>,
        by: Option<&Tensor>,
        over: Option<&Tensor>,
    ) -> Result<Tensor> {
        self.of(Operation::Columns).sum_columns(dest, dy, x, by, over)
    }
}

impl CrossEntropyKernel for Selected {
    fn cross_entropy(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        wanted: Wanted,
    ) -> Result<CrossEntropyResult> {
        self.of(Operation::CrossEntropy).cross_entropy(hidden, head, labels, smoothing, wanted)
    }
}

impl DropoutKernel for Selected {
    fn dropout(&self, dest: Dest, x: &Tensor, mask: Mask) -> Result<Tensor> {
        self.of(Operation::Dropout).dropout(dest, x, mask)
    }
}

impl ElementwiseKernel for Selected {
    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        self.of(Operation::Elementwise).scale(x, factor)
    }

    fn add(&self, dest: Dest, x: &Tensor, factor: f64) -> Result<Tensor> {
        self.of(Operation::Elementwise).add(dest, x, factor)
    }

    fn add_scaled(&self, dest: Dest, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
        self.of(Operation::Elementwise).add_scaled(dest, x, factor)
    }
}

impl EmbeddingKernel for Selected {
    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        self.of(Operation::Embedding).embedding(table, ids)
    }

    fn embedding_backward(&self, dest: Dest, dy: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
        self.of(Operation::Embedding).embedding_backward(dest, dy, ids, rows)
    }
}

impl GatedGeluKernel for Selected {
    fn gated_gelu(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        self.of(Operation::GatedGelu).gated_gelu(gate, up)
    }

    fn gated_gelu_backward(&self, dy: Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
        self.of(Operation::GatedGelu).gated_gelu_backward(dy, gate, up)
    }
}

impl MatmulKernel for Selected {
    fn matmul(&self, dest: Dest, a: Matrix, b: Matrix, scale: f64) -> Result<Tensor> {
        self.of(Operation::Matmul).matmul(dest, a, b, scale)
    }
}

impl PositionBiasKernel for Selected {
    fn position_bias(&self, table: &Tensor, index: &Tensor) -> Result<Tensor> {
        self.of(Operation::PositionBias).position_bias(table, index)
    }

    fn position_bias_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        index: &Tensor,
        buckets: usize,
    ) -> Result<Tensor> {
        self.of(Operation::PositionBias).position_bias_backward(dest, dy, index, buckets)
    }
}

impl ReluKernel for Selected {
    fn relu(&self, x: &Tensor) -> Result<Tensor> {
        self.of(Operation::Relu).relu(x)
    }

    fn relu_backward(&self, dest: Dest, dy: &Tensor, y: &Tensor) -> Result<Tensor> {
        self.of(Operation::Relu).relu_backward(dest, dy, y)
    }
}

impl RmsNormKernel for Selected {
    fn rms_norm(&self, x: &Tensor, added: Option<Added>, weight: &Tensor, eps: f64) -> Result<Normed> {
        self.of(Operation::RmsNorm).rms_norm(x, added, weight, eps)
    }

    fn rms_norm_backward(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        self.of(Operation::RmsNorm).rms_norm_backward(dest, dy, x, weight, inverse)
    }

    fn rms_norm_backward_weight(
        &self,
        dest: Dest,
        dy: &Tensor,
        x: &Tensor,
        inverse: &Tensor,
    ) -> Result<Tensor> {
        self.of(Operation::RmsNorm).rms_norm_backward_weight(dest, dy, x, inverse)
    }
}

impl RowsKernel for Selected {
    fn put_rows(&self, store: &Tensor, rows: &Tensor, places: &Tensor) -> Result<()> {
        self.of(Operation::Rows).put_rows(store, rows, places)
    }
}
