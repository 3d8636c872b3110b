use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::attention::AttentionLayout;
use crate::attention::units::{Unit, chunks};
use crate::cuda::{Cuda, wanted};
use crate::{Result, Segments};

/// Units whose scores exist together.
pub struct Chunk {
    pub units: Vec<Unit>,
    /// The values of the scratch buffer.
    pub scores: usize,
    /// The units as the kernels read them, then the offsets of queries, keys and scores by unit and head.
    device: Tensor,
    heads: usize,
}

impl Chunk {
    /// The most lines of scores of one unit.
    pub fn lines(&self) -> usize {
        self.units.iter().map(|unit| unit.queries.len()).max().unwrap_or(0) * self.heads
    }

    /// Where the units lie on the device.
    pub fn device_units(&self) -> Result<u64> {
        wanted(&self.device, DType::I64)
    }

    /// Where the offsets of queries (0), keys (1) or scores (2) lie on the device.
    pub fn device_offsets(&self, kind: usize) -> Result<u64> {
        let products = self.units.len() * self.heads;
        Ok(self.device_units()? + 8 * (8 * self.units.len() + kind * products) as u64)
    }
}

/// How attention over one layout is computed, chunk by chunk; all layers of a batch share it.
pub struct Plan {
    pub chunks: Vec<Chunk>,
    queries: Arc<Segments>,
    keys: Arc<Segments>,
    heads: usize,
    width: usize,
    causal: bool,
}

/// The plans of the layouts that were used last.
#[derive(Default)]
pub struct Plans(Vec<Arc<Plan>>);

/// An encoder's, a decoder's and the one between, of two batches.
const KEPT: usize = 6;

impl Plans {
    /// The plan of a layout over rows of `heads` x `width` values.
    pub fn find(&mut self, cuda: &Cuda, layout: &AttentionLayout, width: usize) -> Result<Arc<Plan>> {
        if let Some(place) = self.0.iter().position(|plan| plan.is_of(layout, width)) {
            let plan = self.0.remove(place);
            self.0.push(plan.clone());
            return Ok(plan);
        }
        let plan = Arc::new(Plan::new(cuda, layout, width)?);
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(plan.clone());
        Ok(plan)
    }
}

impl Plan {
    fn is_of(&self, layout: &AttentionLayout, width: usize) -> bool {
        // The plan keeps its segments alive, so that one address stands for one of them.
        Arc::ptr_eq(&self.queries, &layout.queries)
            && Arc::ptr_eq(&self.keys, &layout.keys)
            && (self.heads, self.width, self.causal) == (layout.heads, width, layout.causal)
    }

    fn new(cuda: &Cuda, layout: &AttentionLayout, width: usize) -> Result<Self> {
        let chunks = chunks(layout, cuda.settings.scores)
            .into_iter()
            .map(|units| Self::chunk(cuda, layout, width, units));
        Ok(Self {
            chunks: chunks.collect::<Result<_>>()?,
            queries: layout.queries.clone(),
            keys: layout.keys.clone(),
            heads: layout.heads,
            width,
            causal: layout.causal,
        })
    }

    fn chunk(cuda: &Cuda, layout: &AttentionLayout, width: usize, units: Vec<Unit>) -> Result<Chunk> {
        let (heads, inner) = (layout.heads, layout.heads * width);
        let mut values: Vec<i64> = Vec::with_capacity(units.len() * (8 + 3 * heads));
        for unit in &units {
            let Unit { queries, keys, position, scores, stride, .. } = unit;
            let words = [queries.start, queries.len(), keys.start, keys.len(), *position, *scores, *stride];
            values.extend(words.map(|word| word as i64));
            values.push(i64::from(layout.causal));
        }
        // Of queries, keys and scores: where a unit's first head starts, and how far it is to the next.
        let steps = |unit: &Unit| {
            [
                (unit.queries.start * inner, width),
                (unit.keys.start * inner, width),
                (unit.scores, unit.queries.len() * unit.stride),
            ]
        };
        for kind in 0..3 {
            for unit in &units {
                let (start, step) = steps(unit)[kind];
                values.extend((0..heads).map(|head| (start + head * step) as i64));
            }
        }
        let scores = units.last().map_or(0, |unit| unit.scores + heads * unit.queries.len() * unit.stride);
        Ok(Chunk { units, scores, device: cuda.upload(values)?, heads })
    }
}
