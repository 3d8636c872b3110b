//! Rows before, beside and in place of others.

use candle_core::Tensor;
use proptest::prelude::*;
use tallow_ops::{Segments, concat_columns, prepend_rows, replace_rows};

use crate::harness::{DEVICE, Random, check, config};

fn prepended(prefix: &Tensor, x: &Tensor, segments: &Segments) -> candle_core::Result<Tensor> {
    let part = |range: &std::ops::Range<usize>| x.narrow(0, range.start, range.len());
    let parts: Vec<Tensor> = segments.ranges().iter().map(part).collect::<candle_core::Result<Vec<_>>>()?;
    Tensor::cat(&parts.iter().flat_map(|part| [prefix, part]).collect::<Vec<_>>(), 0)
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn a_prefix_stands_before_every_segment(
        seed: u64, rows in 1usize..9, d in 1usize..40, lengths in prop::collection::vec(0usize..9, 1..6),
    ) {
        let segments = Segments::packed(lengths.iter().copied().chain([1]));
        let mut random = Random(seed);
        check(
            vec![random.tensor((rows, d), 1.0), random.tensor((segments.end(), d), 1.0)],
            |tape, x| prepend_rows(tape, &x[0], &x[1], &segments),
            |x| Ok(prepended(&x[0], &x[1], &segments)?),
        );
    }

    #[test]
    fn columns_stand_beside_each_other(seed: u64, n in 1usize..30, a in 1usize..40, b in 1usize..40) {
        let mut random = Random(seed);
        check(
            vec![random.tensor((n, a), 1.0), random.tensor((n, b), 1.0)],
            |tape, x| concat_columns(tape, &x[0], &x[1]),
            |x| Ok(Tensor::cat(&[&x[0], &x[1]], 1)?),
        );
    }

    #[test]
    fn rows_take_the_place_of_others(seed: u64, n in 1usize..30, k in 1u32..6, d in 1usize..40, every in 1usize..4) {
        let mut random = Random(seed);
        // From the end, so that their order is not that of the rows.
        let places: Vec<u32> = (0..n as u32).rev().step_by(every).collect();
        let sources = random.ids(places.len(), k);
        // What each row of the output is, of x with the other rows behind it.
        let mut index: Vec<u32> = (0..n as u32).collect();
        for (&place, &source) in places.iter().zip(&sources) {
            index[place as usize] = n as u32 + source;
        }
        let index = Tensor::new(index, DEVICE).unwrap();
        check(
            vec![random.tensor((n, d), 1.0), random.tensor((k as usize, d), 1.0)],
            |tape, x| replace_rows(tape, &x[0], &x[1], &places, &sources),
            |x| Ok(Tensor::cat(&[&x[0], &x[1]], 0)?.index_select(&index, 0)?),
        );
    }
}

/// One tensor under two roles is where an in-place gradient would be caught.
#[test]
fn rows_may_stand_beside_themselves() {
    let x = || vec![Random(4).tensor((6, 5), 1.0)];
    check(x(), |tape, x| concat_columns(tape, &x[0], &x[0]), |x| Ok(Tensor::cat(&[&x[0], &x[0]], 1)?));
    let segments = Segments::packed([4, 2]);
    check(
        x(),
        |tape, x| prepend_rows(tape, &x[0], &x[0], &segments),
        |x| Ok(prepended(&x[0], &x[0], &segments)?),
    );
    let index = Tensor::new(&[0u32, 5, 2, 3, 4, 0], DEVICE).unwrap();
    check(
        x(),
        |tape, x| replace_rows(tape, &x[0], &x[0], &[1, 5], &[5, 0]),
        |x| Ok(x[0].index_select(&index, 0)?),
    );
}

/// A gradient of one row is a view of its output's: nothing may write where the other's lies.
#[test]
fn one_row_is_split_too() {
    let mut random = Random(5);
    check(
        vec![random.tensor((1, 3), 1.0), random.tensor((1, 4), 1.0)],
        |tape, x| concat_columns(tape, &x[0], &x[1]),
        |x| Ok(Tensor::cat(&[&x[0], &x[1]], 1)?),
    );
}

#[test]
fn segments_grow_by_a_prefix() {
    let segments = Segments::packed([3, 0, 2]);
    assert_eq!(segments.longer_by(2), Segments::packed([5, 2, 4]));
    assert_eq!(segments.longer_by(0), segments);
}

#[test]
fn nothing_to_do_gives_the_input() {
    use crate::harness::both;
    use tallow_ops::{Tape, Traced};
    let x = Traced::constant(Random(3).tensor((4, 3), 1.0));
    let none = Traced::constant(Random(3).tensor((0, 3), 1.0));
    for kernels in both() {
        let tape = Tape::new(kernels);
        let id = x.value().id();
        assert_eq!(prepend_rows(&tape, &none, &x, &Segments::packed([4])).unwrap().value().id(), id);
        assert_eq!(replace_rows(&tape, &x, &none, &[], &[]).unwrap().value().id(), id);
        let empty = prepend_rows(&tape, &x, &none, &Segments::packed([])).unwrap();
        assert_eq!(empty.value().dims(), [0, 3]);
    }
}
