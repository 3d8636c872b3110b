use candle_core::{Device, Tensor};

use crate::{Dest, Error, Result, Segments, Tape, Traced, trace};

/// The rows of a prefix before those of each segment: prefix (N, d), x (n, d) -> (n + segments N, d), whose segments are
/// [`Segments::longer_by`] N. Learned prompts (Lester et al. 2021) and prefixes (Li and Liang 2021).
///
/// Backward: dprefix is the sum over segments of its rows, dx the other rows. Nothing is kept.
///
/// # Errors
/// If the segments do not follow one another from the first row of x to its last, or the widths differ.
pub fn prepend_rows(tape: &Tape, prefix: &Traced, x: &Traced, segments: &Segments) -> Result<Traced> {
    let _span = trace::forward("prepend_rows");
    let ((rows, width), (n, d)) = (prefix.value().dims2()?, x.value().dims2()?);
    if width != d {
        return Err(Error::shape("prepend_rows", format!("rows of {width} before rows of {d}")));
    }
    if !segments.follow_one_another() || segments.end() != n {
        let what = format!("segments to {} that do not cover {n} rows", segments.end());
        return Err(Error::shape("prepend_rows", what));
    }
    if rows == 0 || segments.is_empty() {
        return Ok(x.clone());
    }
    // One gather, rather than a copy for each segment: they may be many.
    let both = Tensor::cat(&[prefix.value(), x.value()], 0)?;
    let sources =
        segments.ranges().iter().flat_map(|range| (0..rows).chain(range.start + rows..range.end + rows));
    let device = x.value().device().clone();
    let y = tape.kernels().embedding(&both, &ids(sources, &device)?)?;
    let (inputs, targets, segments) = ([prefix, x], [prefix.target(), x.target()], segments.clone());
    Ok(tape.record("prepend_rows", y, &inputs, move |dy, gradients| {
        let kernels = gradients.kernels();
        let [prefix, x] = targets;
        let longer = segments.longer_by(rows);
        let longer = longer.ranges();
        if x.is_traced() {
            let own = longer.iter().flat_map(|range| range.start + rows..range.end);
            gradients.give(&x, kernels.embedding(&dy, &ids(own, &device)?)?)?;
        }
        gradients.add(&prefix, |dest| {
            let first = longer.iter().flat_map(|range| range.start..range.start + rows);
            let dy = kernels.embedding(&dy, &ids(first, &device)?)?.reshape((longer.len(), rows * d))?;
            // A segment's whole prefix is one row of sums.
            let dest = match dest {
                Dest::New => Dest::New,
                Dest::Add(sum) => Dest::Add(sum.reshape(rows * d)?),
            };
            Ok(kernels.sum_columns(dest, &dy, None, None, None)?.reshape((rows, d))?)
        })
    }))
}

fn ids(rows: impl Iterator<Item = usize>, device: &Device) -> Result<Tensor> {
    Ok(Tensor::new(rows.map(|row| row as u32).collect::<Vec<_>>(), device)?)
}
