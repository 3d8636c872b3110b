use std::ops::Range;
use std::sync::Arc;

use candle_core::{D, Tensor};
use proptest::prelude::*;
use tallow_ops::{AttentionLayout, Mask, Randomness, Result, Segments, Tape, Traced, attention};

use crate::harness::{DEVICE, Random, both, check, check_with_dropout, config, flat};

fn layout(heads: usize, causal: bool, queries: Segments, keys: Segments) -> AttentionLayout {
    AttentionLayout { heads, causal, queries: Arc::new(queries), keys: Arc::new(keys) }
}

/// Rows that look at themselves.
fn own(heads: usize, causal: bool, lengths: &[usize]) -> AttentionLayout {
    let rows = || Segments::packed(lengths.iter().copied());
    layout(heads, causal, rows(), rows())
}

/// q, k, v and, if `bias`, a table that reaches a little further than it has to.
fn inputs(random: &mut Random, layout: &AttentionLayout, width: usize, bias: bool) -> Vec<Tensor> {
    let inner = layout.heads * width;
    // The standard deviation of a score is about 1.
    let deviation = (width as f64).powf(-0.25);
    let mut inputs = vec![
        random.tensor((layout.queries.end(), inner), deviation),
        random.tensor((layout.keys.end(), inner), deviation),
        random.tensor((layout.keys.end(), inner), 1.0),
    ];
    if bias {
        let reach = layout.keys.longest().max(layout.queries.longest()) + 3;
        inputs.push(random.tensor((layout.heads, 2 * reach - 1), 1.0));
    }
    inputs
}

/// Rows `range` of x as (heads, rows, width).
fn heads(x: &Tensor, heads: usize, range: &Range<usize>) -> Result<Tensor> {
    let width = x.dim(1)? / heads;
    let rows = x.narrow(0, range.start, range.len())?.reshape((range.len(), heads, width))?;
    Ok(rows.transpose(0, 1)?.contiguous()?)
}

/// Attention row by row, with whole matrices; the rows of queries are in order.
fn plain(layout: &AttentionLayout, x: &[Tensor], mask: Option<Mask>) -> Result<Tensor> {
    let (n_q, inner) = x[0].dims2()?;
    let mut pieces = Vec::new();
    let mut end = 0;
    for (queries, keys) in layout.queries.ranges().iter().zip(layout.keys.ranges()) {
        pieces.push(Tensor::zeros((queries.start - end, inner), x[0].dtype(), DEVICE)?);
        end = queries.end;
        if queries.is_empty() {
            continue;
        }
        let [q, k, v] =
            [(0, queries), (1, keys), (2, keys)].map(|(i, range)| heads(&x[i], layout.heads, range));
        let pairs = || (0..queries.len()).flat_map(|query| (0..keys.len()).map(move |key| (query, key)));
        let position = |query: usize| keys.len().saturating_sub(queries.len()) + query;
        let shape = (layout.heads, queries.len(), keys.len());
        let mut scores = q?.matmul(&k?.t()?)?;
        if let Some(bias) = x.get(3) {
            let middle = bias.dim(1)? / 2;
            let index: Vec<u32> =
                pairs().map(|(query, key)| (middle + key - position(query)) as u32).collect();
            scores = (scores + bias.index_select(&Tensor::new(index, DEVICE)?, 1)?.reshape(shape)?)?;
        }
        if layout.causal {
            let hide = |(query, key)| if key > position(query) { f32::NEG_INFINITY } else { 0.0 };
            let hidden = Tensor::from_vec(pairs().map(hide).collect(), (1, shape.1, shape.2), DEVICE)?;
            scores = scores.broadcast_add(&hidden)?;
        }
        let p = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let mut p = p.broadcast_div(&p.sum_keepdim(D::Minus1)?)?;
        if let Some(mask) = mask {
            let row = |head: usize, query: usize| mask.row((head * n_q + queries.start + query) as u32);
            let factors = (0..layout.heads).flat_map(|head| pairs().map(move |pair| (head, pair)));
            let factors: Vec<f32> =
                factors.map(|(head, (query, key))| row(head, query).factor(key as u32)).collect();
            p = (p * Tensor::from_vec(factors, shape, DEVICE)?)?;
        }
        pieces.push(p.matmul(&v?)?.transpose(0, 1)?.reshape((queries.len(), inner))?);
    }
    pieces.push(Tensor::zeros((n_q - end, inner), x[0].dtype(), DEVICE)?);
    Ok(Tensor::cat(&pieces, 0)?)
}

fn fused(tape: &Tape, x: &[Traced], dropout: f64, layout: &AttentionLayout) -> Result<Traced> {
    attention(tape, [&x[0], &x[1], &x[2]], x.get(3), dropout, layout)
}

fn check_layout(seed: u64, layout: &AttentionLayout, width: usize, bias: bool) {
    check(
        inputs(&mut Random(seed), layout, width, bias),
        |tape, x| fused(tape, x, 0.0, layout),
        |x| plain(layout, x, None),
    );
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn rows_attend_to_themselves(
        seed: u64,
        lengths in prop::collection::vec(1usize..20, 1..5),
        heads in 1usize..4,
        width in prop::sample::select(vec![1usize, 8, 13, 64]),
        causal: bool,
        bias: bool,
    ) {
        check_layout(seed, &own(heads, causal, &lengths), width, bias);
    }

    #[test]
    fn rows_attend_to_other_rows(
        seed: u64,
        lengths in prop::collection::vec((0usize..20, 1usize..20), 1..5),
        heads in 1usize..4,
    ) {
        let (queries, keys): (Vec<_>, Vec<_>) = lengths.into_iter().unzip();
        prop_assume!(queries.iter().sum::<usize>() > 0);
        let layout = layout(heads, false, Segments::packed(queries), Segments::packed(keys));
        check_layout(seed, &layout, 8, false);
    }

    #[test]
    fn causal_queries_are_the_last_of_their_keys(
        seed: u64,
        lengths in prop::collection::vec((1usize..6, 0usize..9), 1..4),
        bias: bool,
    ) {
        // Keys lie in places with room to grow.
        let place = |(i, &(queries, before)): (usize, &(usize, usize))| 20 * i + 1..20 * i + 1 + before + queries;
        let keys = Segments::at(lengths.iter().enumerate().map(place).collect());
        let queries = Segments::packed(lengths.iter().map(|&(queries, _)| queries));
        check_layout(seed, &layout(2, true, queries, keys), 8, bias);
    }

    #[test]
    fn dropout_applies_to_the_probabilities(
        seed: u64, lengths in prop::collection::vec(1usize..30, 1..4), p in 0.1f64..0.6, causal: bool,
    ) {
        let layout = own(2, causal, &lengths);
        let randomness = Randomness::new(seed, 0, 0);
        check_with_dropout(
            randomness,
            inputs(&mut Random(seed), &layout, 8, true),
            |tape, x| fused(tape, x, p, &layout),
            |x| plain(&layout, x, Some(randomness.mask(0, p))),
        );
    }
}

#[test]
fn short_and_long_rows_mix() {
    for causal in [false, true] {
        check_layout(1, &own(2, causal, &[1, 700, 1, 33]), 8, true);
    }
    check_layout(2, &own(1, false, &[300, 1]), 64, true);
    check_layout(3, &layout(2, false, Segments::packed([3, 600]), Segments::packed([280, 1])), 8, false);
}

#[test]
fn later_blocks_stand_behind_a_cache() {
    let keys = Segments::at(vec![2..302, 310..311]);
    check_layout(4, &layout(2, true, Segments::packed([270, 1]), keys), 8, true);
}

#[test]
fn dropout_reaches_every_block() {
    let layout = own(2, true, &[300, 2]);
    let randomness = Randomness::new(9, 0, 0);
    check_with_dropout(
        randomness,
        inputs(&mut Random(5), &layout, 8, true),
        |tape, x| fused(tape, x, 0.1, &layout),
        |x| plain(&layout, x, Some(randomness.mask(0, 0.1))),
    );
}

#[test]
fn rows_without_queries_give_their_keys_no_gradient() {
    let layout = layout(2, false, Segments::packed([0, 3, 0]), Segments::packed([4, 2, 5]));
    check_layout(6, &layout, 8, false);
}

#[test]
fn queries_outside_every_row_get_zeros() {
    let queries = Segments::at(vec![2..5, 7..8]);
    let layout = layout(2, false, queries, Segments::packed([3, 4]));
    let mut x = inputs(&mut Random(7), &layout, 8, false);
    x[0] = Random(8).tensor((11, 16), 0.5);
    check(x.clone(), |tape, x| fused(tape, x, 0.0, &layout), |x| plain(&layout, x, None));
    for kernels in both() {
        let x: Vec<_> = x.iter().cloned().map(Traced::constant).collect();
        let y = fused(&Tape::off(kernels), &x, 0.0, &layout).unwrap();
        for row in [0, 1, 5, 6, 8, 9, 10] {
            assert_eq!(flat(&y.value().get(row).unwrap()), [0.0; 16]);
        }
    }
}

#[test]
fn rows_share_keys_where_these_are_constants() {
    let shared = layout(2, false, Segments::packed([2, 3]), Segments::at(vec![0..4, 0..4]));
    let x = inputs(&mut Random(9), &shared, 8, false);
    let [k, v] = [&x[1], &x[2]].map(|x| Traced::constant(x.clone()));
    check(
        vec![x[0].clone()],
        |tape, q| attention(tape, [&q[0], &k, &v], None, 0.0, &shared),
        |q| plain(&shared, &[q[0].clone(), x[1].clone(), x[2].clone()], None),
    );
}

#[test]
fn one_tensor_may_be_queries_keys_and_values() {
    let layout = own(2, false, &[5, 8]);
    check(
        vec![Random(10).tensor((13, 16), 0.5)],
        |tape, x| attention(tape, [&x[0]; 3], None, 0.0, &layout),
        |x| plain(&layout, &[x[0].clone(), x[0].clone(), x[0].clone()], None),
    );
}

#[test]
fn scores_far_apart_do_not_overflow() {
    let layout = own(1, false, &[40]);
    let mut x = inputs(&mut Random(11), &layout, 8, false);
    x[0] = (&x[0] * 100.0).unwrap();
    let wanted = plain(&layout, &x, None).unwrap();
    for kernels in both() {
        let x: Vec<_> = x.iter().cloned().map(Traced::constant).collect();
        let y = fused(&Tape::off(kernels), &x, 0.0, &layout).unwrap();
        crate::harness::assert_close(y.value(), &wanted, 1e-4, "attention of large scores");
    }
}
