//! Attention by grouped cuBLAS products over chunks of rows, and one kernel for all that is between them.

mod plan;

use candle_core::{DType, Tensor};

use plan::Chunk;
pub(crate) use plan::Plans;

use super::units::Unit;
use super::{AttentionGradients, AttentionKernel, AttentionLayout, AttentionSaved, reach};
use crate::cuda::{Cuda, Layout, Module, Operand, Pointers, Product, Size, module, operand, suffix, wanted};
use crate::{Mask, Result};

const MODULE: Module = module!("attention");

/// Threads of a block: a warp to a line of scores.
const THREADS: u32 = 256;
const LINES: usize = THREADS as usize / 32;

/// Which of a chunk's offsets an operand lies at.
#[derive(Clone, Copy)]
enum Place {
    Queries,
    Keys,
    Scores,
}

/// One operand of a chunk's products: the tensor, by its first value.
#[derive(Clone, Copy)]
struct Side {
    base: Operand,
    place: Place,
    transposed: bool,
}

impl Side {
    fn queries(base: Operand) -> Self {
        Self { base, place: Place::Queries, transposed: false }
    }

    fn keys(base: Operand) -> Self {
        Self { base, place: Place::Keys, transposed: false }
    }

    fn scores(base: Operand) -> Self {
        Self { base, place: Place::Scores, transposed: false }
    }

    fn t(self) -> Self {
        Self { transposed: true, ..self }
    }
}

/// The shapes of one attention, and its bias.
struct Attention<'a> {
    cuda: &'a Cuda,
    heads: usize,
    width: usize,
    rows: usize,
    dtype: DType,
    bias: Option<&'a Tensor>,
    mask: Option<Mask>,
}

impl Attention<'_> {
    /// The values from row to row of an operand, its rows and its columns.
    fn shape(&self, unit: &Unit, side: Side) -> (usize, [usize; 2]) {
        let inner = self.heads * self.width;
        let (stride, rows, columns) = match side.place {
            Place::Queries => (inner, unit.queries.len(), self.width),
            Place::Keys => (inner, unit.keys.len(), self.width),
            Place::Scores => (unit.stride, unit.queries.len(), unit.keys.len()),
        };
        (stride, if side.transposed { [columns, rows] } else { [rows, columns] })
    }

    fn product(&self, unit: &Unit, [a, b, c]: [Side; 3], accumulate: bool) -> Product {
        let layout = |side: Side| Layout { stride: self.shape(unit, side).0, transposed: side.transposed };
        let (_, [m, k]) = self.shape(unit, a);
        let (_, [_, n]) = self.shape(unit, b);
        let size = Size { m, k, n };
        Product { size, a: layout(a), b: layout(b), stride: self.shape(unit, c).0, scale: 1.0, accumulate }
    }

    /// c = a b for every unit and head, or c += a b where the unit's keys were written before.
    fn products(&self, chunk: &Chunk, [a, b, c]: [Side; 3]) -> Result<()> {
        let sums = matches!(c.place, Place::Keys);
        let products: Vec<Product> =
            chunk.units.iter().map(|unit| self.product(unit, [a, b, c], sums && unit.again)).collect();
        let groups = products.len() > 1 && self.cuda.groups(self.width, self.dtype);
        if groups && self.grouped(chunk, &products, [a, b, c])? {
            return Ok(());
        }
        for (unit, product) in chunk.units.iter().zip(products) {
            let at = |side: Side| {
                let (start, step) = match side.place {
                    Place::Queries => (unit.queries.start * self.heads * self.width, self.width),
                    Place::Keys => (unit.keys.start * self.heads * self.width, self.width),
                    Place::Scores => (unit.scores, unit.queries.len() * unit.stride),
                };
                let pointer = side.base.pointer + (start * self.dtype.size_in_bytes()) as u64;
                (Operand { pointer, dtype: self.dtype }, step)
            };
            self.cuda.gemm_strided(product, at(a), at(b), at(c), self.heads)?;
        }
        Ok(())
    }

    fn grouped(&self, chunk: &Chunk, products: &[Product], sides: [Side; 3]) -> Result<bool> {
        let n = products.len() * self.heads;
        let pointers = self.cuda.empty(3 * n, DType::I64)?;
        let start = wanted(&pointers, DType::I64)?;
        let mut launch = self.cuda.kernel(&MODULE, "tallow_pointers")?.arg(start);
        for side in sides {
            launch = launch.arg(side.base.pointer);
        }
        for side in sides {
            launch = launch.arg(chunk.device_offsets(side.place as usize)?);
        }
        launch.arg(n as i32).arg(self.dtype.size_in_bytes() as i32).elements(n)?;
        let at = |i: usize| start + (8 * i * n) as u64;
        let pointers = Pointers { a: at(0), b: at(1), c: at(2) };
        self.cuda.gemm_grouped(products, self.heads, pointers, self.dtype)
    }

    /// Launches a kernel over the chunk's lines, which takes the units, the bias, the mask and the sizes last.
    fn lines(&self, name: &str, chunk: &Chunk, tensors: &[u64]) -> Result<()> {
        let mut launch = self.cuda.kernel(&MODULE, &format!("{name}_{}", suffix(self.dtype)))?;
        for &tensor in tensors {
            launch = launch.arg(tensor);
        }
        let bias = match self.bias {
            Some(bias) => [wanted(bias, DType::F32)?, reach(bias)? as u64],
            None => [0, 0],
        };
        launch
            .arg(chunk.device_units()?)
            .bytes(&bias)
            .mask(self.mask)
            .arg(i32::from(self.mask.is_some()))
            .arg(self.heads as i32)
            .arg(self.rows as i32)
            .blocks((chunk.lines().div_ceil(LINES) as u32, chunk.units.len() as u32), THREADS)
    }

    /// A tensor like x for results; zeros where rows of it are outside every unit.
    fn result(&self, x: &Tensor, covered: usize) -> Result<Tensor> {
        match covered == x.dim(0)? {
            true => self.cuda.empty(x.shape(), self.dtype),
            false => self.cuda.zeros(x.shape(), self.dtype),
        }
    }
}

/// The rows of all queries, and of all keys that some query sees.
fn covered(layout: &AttentionLayout) -> [usize; 2] {
    let seen = layout.rows().filter(|(queries, _)| !queries.is_empty());
    seen.fold([0, 0], |[q, k], (queries, keys)| [q + queries.len(), k + keys.len()])
}

impl AttentionKernel for Cuda {
    fn attention(
        &self,
        layout: &AttentionLayout,
        [q, k, v]: [&Tensor; 3],
        bias: Option<&Tensor>,
        mask: Option<Mask>,
    ) -> Result<(Tensor, Tensor)> {
        let ((rows, inner), heads) = (q.dims2()?, layout.heads);
        let (dtype, width) = (q.dtype(), inner / heads);
        let attention = Attention { cuda: self, heads, width, rows, dtype, bias, mask };
        let plan = self.plans.lock().expect("no holder panics").find(self, layout, width)?;
        let [queries, _] = covered(layout);
        let y = attention.result(q, queries)?;
        let lse = match queries == rows {
            true => self.empty((rows, heads), DType::F32)?,
            false => self.zeros((rows, heads), DType::F32)?,
        };
        let most = plan.chunks.iter().map(|chunk| chunk.scores).max().unwrap_or(0);
        let scores = self.empty(most, dtype)?;
        let at = |x: &Tensor| Ok::<_, crate::Error>(Operand { pointer: wanted(x, dtype)?, dtype });
        let (q, k, v) = (Side::queries(at(q)?), Side::keys(at(k)?), Side::keys(at(v)?));
        for chunk in &plan.chunks {
            let p = Side::scores(operand(&scores)?);
            attention.products(chunk, [q, k.t(), p])?;
            attention.lines("tallow_softmax", chunk, &[p.base.pointer, wanted(&lse, DType::F32)?])?;
            attention.products(chunk, [p, v, Side::queries(operand(&y)?)])?;
        }
        Ok((y, lse))
    }

    fn attention_backward(
        &self,
        layout: &AttentionLayout,
        saved: AttentionSaved,
        dy: &Tensor,
        wants: [bool; 4],
    ) -> Result<AttentionGradients> {
        let [q, k, v] = saved.qkv;
        let ((rows, inner), heads) = (q.dims2()?, layout.heads);
        let (dtype, width) = (q.dtype(), inner / heads);
        let (bias, mask) = (saved.bias, saved.mask);
        let attention = Attention { cuda: self, heads, width, rows, dtype, bias, mask };
        let plan = self.plans.lock().expect("no holder panics").find(self, layout, width)?;
        let [queries, keys] = covered(layout);
        let result = |wants: bool, x, covered| wants.then(|| attention.result(x, covered)).transpose();
        let (dq, dk, dv) =
            (result(wants[0], q, queries)?, result(wants[1], k, keys)?, result(wants[2], v, keys)?);
        let dbias = bias.filter(|_| wants[3]).map(|bias| self.zeros(bias.shape(), DType::F32)).transpose()?;
        let most = plan.chunks.iter().map(|chunk| chunk.scores).max().unwrap_or(0);
        let (scores, slopes) = (self.empty(most, dtype)?, self.empty(most, dtype)?);
        let at = |x: &Tensor| Ok::<_, crate::Error>(Operand { pointer: wanted(x, dtype)?, dtype });
        let (q, k, v) = (Side::queries(at(q)?), Side::keys(at(k)?), Side::keys(at(v)?));
        let dy = Side::queries(at(dy)?);
        let lse = wanted(saved.log_sum_exp, DType::F32)?;
        for chunk in &plan.chunks {
            let (p, ds) = (Side::scores(operand(&scores)?), Side::scores(operand(&slopes)?));
            attention.products(chunk, [q, k.t(), p])?;
            attention.products(chunk, [dy, v.t(), ds])?;
            attention.lines("tallow_softmax_backward", chunk, &[p.base.pointer, ds.base.pointer, lse])?;
            if let Some(dv) = &dv {
                attention.products(chunk, [p.t(), dy, Side::keys(operand(dv)?)])?;
            }
            if let Some(dq) = &dq {
                attention.products(chunk, [ds, k, Side::queries(operand(dq)?)])?;
            }
            if let Some(dk) = &dk {
                attention.products(chunk, [ds.t(), q, Side::keys(operand(dk)?)])?;
            }
            if let Some(dbias) = &dbias {
                let distances = dbias.dim(1)?;
                self.kernel(&MODULE, &format!("tallow_bias_slopes_{}", suffix(dtype)))?
                    .arg(wanted(dbias, DType::F32)?)
                    .arg(ds.base.pointer)
                    .arg(chunk.device_units()?)
                    .arg(chunk.units.len() as i32)
                    .arg(distances.div_ceil(2) as i32)
                    .arg(1i32)
                    .blocks((distances as u32, heads as u32), THREADS)?;
            }
        }
        Ok(AttentionGradients { qkv: [dq, dk, dv], bias: dbias })
    }
}
