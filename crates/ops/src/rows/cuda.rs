use candle_core::{DType, Tensor};

use super::RowsKernel;
use crate::cuda::{Cuda, Module, module, operand, suffix, wanted};
use crate::{Error, Result};

const MODULE: Module = module!("rows");

/// Threads to a row.
const THREADS: u32 = 256;

impl RowsKernel for Cuda {
    fn put_rows(&self, store: &Tensor, rows: &Tensor, places: &Tensor) -> Result<()> {
        let ((room, d), (n, width)) = (store.dims2()?, rows.dims2()?);
        if width != d || places.elem_count() != n {
            let what = format!("({n}, {width}) to {} places of ({room}, {d})", places.elem_count());
            return Err(Error::shape("put_rows", what));
        }
        let to = operand(store)?;
        self.kernel(&MODULE, &format!("tallow_put_rows_{}", suffix(to.dtype)))?
            .arg(to.pointer)
            .arg(wanted(rows, to.dtype)?)
            .arg(wanted(places, DType::U32)?)
            .arg(room as i32)
            .arg(d as i32)
            .blocks((n as u32, 1), THREADS)
    }
}
