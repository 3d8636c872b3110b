use candle_core::Tensor;
use proptest::prelude::*;
use tallow_ops::{embedding, position_bias};

use crate::harness::{DEVICE, Random, check, config};

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn embedding_looks_rows_up(seed: u64, n in 1usize..60, rows in 1u32..30, d in 1usize..70) {
        let mut random = Random(seed);
        let ids = Tensor::new(random.ids(n, rows), DEVICE).unwrap();
        check(
            vec![random.tensor((rows as usize, d), 1.0)],
            |tape, x| embedding(tape, &x[0], &ids),
            |x| Ok(x[0].index_select(&ids, 0)?),
        );
    }

    #[test]
    fn position_bias_looks_buckets_up_by_head(
        seed: u64, distances in 1usize..80, buckets in 1u32..33, heads in 1usize..9,
    ) {
        let mut random = Random(seed);
        let index = Tensor::new(random.ids(distances, buckets), DEVICE).unwrap();
        check(
            vec![random.tensor((buckets as usize, heads), 1.0)],
            |tape, x| position_bias(tape, &x[0], &index),
            |x| Ok(x[0].index_select(&index, 0)?.t()?.contiguous()?),
        );
    }
}

#[test]
fn a_repeated_id_collects_every_gradient() {
    let mut random = Random(2);
    let ids = Tensor::new(&[1u32, 1, 0, 1, 4], DEVICE).unwrap();
    check(
        vec![random.tensor((5, 3), 1.0)],
        |tape, x| embedding(tape, &x[0], &ids),
        |x| Ok(x[0].index_select(&ids, 0)?),
    );
}

#[test]
fn no_ids_give_no_rows() {
    use crate::harness::both;
    use tallow_ops::{Tape, Traced};
    let table = Traced::constant(Random(3).tensor((4, 3), 1.0));
    let ids = Tensor::new(Vec::<u32>::new(), DEVICE).unwrap();
    for kernels in both() {
        let y = embedding(&Tape::off(kernels), &table, &ids).unwrap();
        assert_eq!(y.value().dims(), [0, 3]);
    }
}
