//! What the CPU kernels share: access to a tensor's values, vectorised loops, matrix products.

mod access;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod dots;
pub(crate) mod gemm;
mod panels;
mod product;
pub(crate) mod simd;
mod transpose;

use candle_core::Device;

pub use simd::{instructions, log_sum_exp};

pub(crate) use access::{Values, fill, overwrite, scratch, tensor, tokens, values};

use crate::Kernels;

/// Kernels for the CPU: one pass over memory each, on the threads of the current rayon pool.
///
/// Whoever deals rows to shards runs each in a pool of one thread; what is not dealt runs in a pool of all, which
/// shares the work of each operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl Kernels for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn hardware(&self) -> String {
        match gemm::has_tiles() {
            true => format!("{}, AMX", instructions()),
            false => instructions().to_owned(),
        }
    }
}

/// Values to a task: large enough to hide the scheduling, small enough for the second-level cache.
pub(crate) const TASK: usize = 32 * 1024;

/// The length of even chunks of `len`, as few as there can be of at most `most`.
pub(crate) fn even(len: usize, most: usize) -> usize {
    len.div_ceil(len.div_ceil(most.max(1)).max(1)).max(1)
}

/// Rows to a task, for rows of `cols` values.
pub(crate) fn task_rows(cols: usize) -> usize {
    (TASK / cols.max(1)).max(1)
}
