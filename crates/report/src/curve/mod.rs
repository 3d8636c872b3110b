//! Curves: thinned, smoothed, and the axes that they are drawn on.

mod number;
mod scale;
mod smooth;
mod thin;

pub(crate) use number::{bytes, count, duration, short};
pub(crate) use scale::Scale;
pub(crate) use smooth::smooth;
pub(crate) use thin::thin;

/// A step, and a figure of it.
pub(crate) type Point = (f64, f64);
