use candle_core::Tensor;

use crate::{Error, Result, Tape, Traced, trace};

/// x, but row `places[i]` is row `sources[i]` of `rows`: x (n, d), rows (k, d) -> (n, d). Trained embeddings of new
/// tokens, in a stream that a frozen table gave.
///
/// Backward: drows is the sum of dy over the places that took each row, dx is dy with zeros in the places. Nothing
/// is kept but these.
///
/// # Errors
/// If the shapes or lengths do not go together, a number has no row, or a place is named twice.
pub fn replace_rows(
    tape: &Tape,
    x: &Traced,
    rows: &Traced,
    places: &[u32],
    sources: &[u32],
) -> Result<Traced> {
    let _span = trace::forward("replace_rows");
    let ((n, d), (k, width)) = (x.value().dims2()?, rows.value().dims2()?);
    if width != d || places.len() != sources.len() {
        let what = format!("{} of ({k}, {width}) to {} places of ({n}, {d})", sources.len(), places.len());
        return Err(Error::shape("replace_rows", what));
    }
    check(places, n)?;
    if let Some(source) = sources.iter().find(|&&source| source as usize >= k) {
        return Err(Error::shape("replace_rows", format!("row {source} of {k}")));
    }
    if places.is_empty() {
        return Ok(x.clone());
    }
    let (kernels, device) = (tape.kernels(), x.value().device());
    let (places, sources) = (Tensor::new(places, device)?, Tensor::new(sources, device)?);
    let y = kernels.scale(x.value(), 1.0)?;
    kernels.put_rows(&y, &kernels.embedding(rows.value(), &sources)?, &places)?;
    let (inputs, targets) = ([x, rows], [x.target(), rows.target()]);
    Ok(tape.record("replace_rows", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        let [x, rows] = targets;
        gradients.add(&rows, |dest| {
            kernels.embedding_backward(dest, &kernels.embedding(&dy, &places)?, &sources, k)
        })?;
        if x.is_traced() {
            let zeros = Tensor::zeros((places.elem_count(), d), dy.dtype(), dy.device())?;
            kernels.put_rows(&dy, &zeros, &places)?;
            gradients.give(&x, dy)?;
        }
        Ok(())
    }))
}

/// Distinct places among n.
fn check(places: &[u32], n: usize) -> Result<()> {
    let mut taken = vec![false; n];
    for &place in places {
        match taken.get_mut(place as usize) {
            None => return Err(Error::shape("replace_rows", format!("place {place} of {n}"))),
            Some(true) => return Err(Error::shape("replace_rows", format!("place {place} is named twice"))),
            Some(taken) => *taken = true,
        }
    }
    Ok(())
}
