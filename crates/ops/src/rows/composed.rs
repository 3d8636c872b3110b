use candle_core::Tensor;

use super::RowsKernel;
use crate::Result;
use crate::composed::Composed;

impl RowsKernel for Composed {
    fn put_rows(&self, store: &Tensor, rows: &Tensor, places: &Tensor) -> Result<()> {
        for (i, place) in places.to_vec1::<u32>()?.into_iter().enumerate() {
            store.slice_set(&rows.narrow(0, i, 1)?, 0, place as usize)?;
        }
        Ok(())
    }
}
