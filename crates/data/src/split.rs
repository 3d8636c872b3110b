//! Holding out a part of the rows.

use crate::error::{Error, Result};
use crate::random::Random;

/// Splits row numbers `0..n_rows` into (kept for training, held out), both in ascending order.
///
/// `fraction` of the rows, rounded, is held out, drawn by `seed`; with two rows or more, each side gets at least
/// one. A single row is kept for training.
///
/// # Errors
///
/// A fraction that does not lie between 0 and 1, both excluded.
pub fn split_fraction(n_rows: usize, fraction: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::Fraction { fraction });
    }
    let mut training: Vec<usize> = (0..n_rows).collect();
    if n_rows < 2 {
        return Ok((training, Vec::new()));
    }
    Random::new(seed, 0).shuffle(&mut training);
    let n_held_out = ((n_rows as f64 * fraction).round() as usize).clamp(1, n_rows - 1);
    let mut held_out = training.split_off(n_rows - n_held_out);
    training.sort_unstable();
    held_out.sort_unstable();
    Ok((training, held_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        let sizes = |n_rows, fraction| {
            let (training, held_out) = split_fraction(n_rows, fraction, 1).unwrap();
            (training.len(), held_out.len())
        };
        assert_eq!(sizes(1000, 0.1), (900, 100));
        assert_eq!(sizes(10, 0.01), (9, 1));
        assert_eq!(sizes(10, 0.99), (1, 9));
        assert_eq!(sizes(2, 0.9), (1, 1));
        assert_eq!(sizes(1, 0.9), (1, 0));
        assert_eq!(sizes(0, 0.5), (0, 0));
    }

    #[test]
    fn a_seed_means_one_split_for_ever() {
        let (training, held_out) = split_fraction(12, 0.25, 42).unwrap();
        assert_eq!((training, held_out), (vec![0, 2, 3, 5, 6, 7, 9, 10, 11], vec![1, 4, 8]));
        assert_ne!(split_fraction(1000, 0.5, 1).unwrap(), split_fraction(1000, 0.5, 2).unwrap());
    }

    #[test]
    fn fractions_lie_between_0_and_1() {
        for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            let message = split_fraction(10, fraction, 0).unwrap_err().to_string();
            let expected =
                format!("a held-out fraction lies between 0 and 1 (both excluded), not at {fraction}");
            assert_eq!(message, expected);
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_disjoint_and_complete(n_rows in 0_usize..300, fraction in 0.001..0.999, seed: u64) {
            let (training, held_out) = split_fraction(n_rows, fraction, seed).unwrap();
            prop_assert!(training.is_sorted() && held_out.is_sorted());
            prop_assert!(n_rows < 2 || (!training.is_empty() && !held_out.is_empty()));
            let mut all = [training, held_out].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n_rows).collect::<Vec<_>>());
        }
    }
}
