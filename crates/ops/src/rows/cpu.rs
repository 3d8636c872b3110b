use candle_core::Tensor;

use super::RowsKernel;
use crate::cpu::{Cpu, overwrite, tokens, values};
use crate::{Error, Result};

impl RowsKernel for Cpu {
    fn put_rows(&self, store: &Tensor, rows: &Tensor, places: &Tensor) -> Result<()> {
        let ((room, d), (n, width)) = (store.dims2()?, rows.dims2()?);
        let (rows, places) = (values(rows)?, tokens(places)?);
        if width != d || places.len() != n || places.iter().any(|&place| place as usize >= room) {
            let what = format!("({n}, {width}) to {} places of ({room}, {d})", places.len());
            return Err(Error::shape("put_rows", what));
        }
        overwrite(store, |store| {
            for (row, &place) in rows.chunks_exact(d).zip(&*places) {
                store[place as usize * d..][..d].copy_from_slice(row);
            }
        })
    }
}
