//! The exact sum of low-rank updates.

use candle_core::Tensor;

use super::Part;
use crate::Result;

/// [w1 s1 A1; w2 s2 A2; ...] and [B1, B2, ...], whose product is the sum of w s B A.
pub(super) fn pair(parts: &[Part]) -> Result<[Tensor; 2]> {
    let scaled = parts.iter().map(|part| Ok((&part.a * (part.weight * part.scale))?));
    let (above, beside): (Vec<Tensor>, Vec<&Tensor>) =
        (scaled.collect::<Result<_>>()?, parts.iter().map(|part| &part.b).collect());
    Ok([Tensor::cat(&above, 0)?, Tensor::cat(&beside, 1)?])
}
