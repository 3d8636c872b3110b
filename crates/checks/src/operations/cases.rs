use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use tallow_ops::{
    AdamW, AttentionLayout, Lora, Operation, ParameterSpec, Parameters, Segments, Traced, Update, add,
    add_rms_norm, add_vector, attention, concat_columns, cross_entropy, dropout, embedding, gated_gelu,
    linear, lora_linear, mul_vector, position_bias, prepend_rows, relu, replace_rows, rms_norm, scale,
};

use super::Case;
use super::random::Random;

/// How many shapes are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One or two small ones: milliseconds.
    Quick,
    /// Single rows, odd and large ones, long segments, and some that are drawn from this seed.
    Full(u64),
}

/// The shapes that are drawn for each kind of case.
const DRAWN: usize = 3;

impl Extent {
    /// All of `quick`, and of `more` if there is time.
    fn take<T>(self, quick: impl IntoIterator<Item = T>, more: impl IntoIterator<Item = T>) -> Vec<T> {
        let more = more.into_iter().filter(|_| self != Self::Quick);
        quick.into_iter().chain(more).collect()
    }

    /// Sizes from 1 to `most` each, drawn apart for each `kind` of case; none if there is no time.
    fn drawn<const N: usize>(self, kind: u64, most: [u32; N]) -> Vec<[usize; N]> {
        let Self::Full(seed) = self else { return Vec::new() };
        let mut random = Random::new(seed.wrapping_mul(1000).wrapping_add(kind));
        (0..DRAWN).map(|_| most.map(|most| 1 + random.ids(1, most)[0] as usize)).collect()
    }
}

/// The cases of every operation.
pub fn cases(extent: Extent) -> Vec<Case> {
    [elementwise, columns, norms, products, tables, losses, attentions, updates]
        .iter()
        .flat_map(|of| of(extent))
        .collect()
}

fn elementwise(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(37, 129)], [(1, 1), (600, 2048)]);
    shapes.extend(extent.drawn(1, [300, 1000]).into_iter().map(|[n, f]| (n, f)));
    for (n, f) in shapes {
        let name = format!("({n}, {f})");
        let mut random = Random::new(1);
        let mut inputs = |count: usize| (0..count).map(|_| random.tensor((n, f), 1.5)).collect::<Vec<_>>();
        cases.extend([
            Case::on_tape(Operation::Elementwise, format!("add {name}"), inputs(2), false, |tape, x| {
                add(tape, &x[0], &x[1])
            }),
            Case::on_tape(Operation::Elementwise, format!("scale {name}"), inputs(1), false, |tape, x| {
                scale(tape, &x[0], -0.7)
            }),
            Case::on_tape(Operation::GatedGelu, name.clone(), inputs(2), false, |tape, x| {
                gated_gelu(tape, &x[0], &x[1])
            }),
            Case::on_tape(Operation::Relu, name.clone(), inputs(1), false, |tape, x| relu(tape, &x[0])),
            Case::on_tape(Operation::Dropout, name.clone(), inputs(1), true, |tape, x| {
                dropout(tape, &x[0], 0.3)
            }),
        ]);
    }
    cases
}

fn columns(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(33, 100)], [(1, 8), (7, 1), (300, 768), (1500, 64), (5, 4096)]);
    shapes.extend(extent.drawn(9, [500, 1500]).into_iter().map(|[n, d]| (n, d)));
    for (n, d) in shapes {
        let mut random = Random::new(10);
        let inputs = vec![random.tensor((n, d), 1.0), random.tensor(d, 1.0)];
        let by = random.tensor(d, 1.0);
        let name = |what: &str| format!("{what} ({n}, {d})");
        cases.push(Case::on_tape(Operation::Columns, name("mul"), inputs.clone(), false, |tape, x| {
            mul_vector(tape, &x[0], &x[1], None)
        }));
        // What relu gives is made again: the factors' gradient is computed from the input, not from the output.
        cases.push(Case::on_tape(
            Operation::Columns,
            name("mul by a vector more"),
            inputs.clone(),
            false,
            move |tape, x| {
                let by = by.to_device(tape.kernels().device())?;
                let y = mul_vector(tape, &x[0], &x[1], Some(&by))?;
                mul_vector(tape, &relu(tape, &y)?, &x[1], Some(&by))
            },
        ));
        cases.push(Case::on_tape(Operation::Columns, name("add"), inputs, false, |tape, x| {
            add_vector(tape, &x[0], &x[1])
        }));
    }
    cases
}

fn norms(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(33, 512)], [(1, 8), (7, 100), (300, 768), (5, 4096)]);
    shapes.extend(extent.drawn(2, [100, 1500]).into_iter().map(|[n, d]| (n, d)));
    for (n, d) in shapes {
        let mut random = Random::new(2);
        let mut stream =
            || vec![random.tensor((n, d), 1.0), random.tensor((n, d), 0.5), random.tensor(d, 1.0)];
        let alone = stream();
        let alone = vec![alone[0].clone(), alone[2].clone()];
        let name = format!("({n}, {d})");
        cases.push(Case::on_tape(Operation::RmsNorm, name.clone(), alone, false, |tape, x| {
            rms_norm(tape, &x[0], &x[1], 1e-6)
        }));
        for p in [0.0, 0.2] {
            let name = format!("added {name}, dropout {p}");
            cases.push(Case::on_tape(Operation::RmsNorm, name, stream(), p > 0.0, move |tape, x| {
                let [sum, y] = add_rms_norm(tape, &x[0], &x[1], p, &x[2], 1e-6)?;
                add(tape, &sum, &y)
            }));
        }
    }
    cases
}

fn products(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(33, 64, 100)], [(1, 8, 8), (17, 1, 3), (256, 768, 768), (1500, 512, 64)]);
    shapes.extend(extent.drawn(3, [200, 300, 300]).into_iter().map(|[n, d, out]| (n, d, out)));
    for (n, d, out) in shapes {
        let mut random = Random::new(3);
        let deviation = (d as f64).powf(-0.5);
        let inputs = vec![random.tensor((n, d), 1.0), random.tensor((out, d), deviation)];
        let name = format!("({n}, {d}) to {out}");
        cases.push(Case::on_tape(Operation::Matmul, name.clone(), inputs.clone(), false, |tape, x| {
            linear(tape, &x[0], &x[1])
        }));
        let mut inputs = inputs;
        inputs.extend([random.tensor((8, d), deviation), random.tensor((out, 8), 0.3)]);
        for p in [0.0, 0.2] {
            let name = format!("LoRA {name}, dropout {p}");
            cases.push(Case::on_tape(Operation::Matmul, name, inputs.clone(), p > 0.0, move |tape, x| {
                let lora = Lora { a: &x[2], b: &x[3], scale: 4.0, dropout: p };
                lora_linear(tape, &x[0], &x[1], lora)
            }));
        }
    }
    cases
}

fn tables(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(50, 64, 90)], [(3, 8, 1), (1000, 512, 700)]);
    shapes.extend(extent.drawn(4, [500, 300, 300]).into_iter().map(|[rows, d, n]| (rows, d, n)));
    for (rows, d, n) in shapes {
        let mut random = Random::new(4);
        let ids = random.ids(n, rows as u32);
        let table = vec![random.tensor((rows, d), 1.0)];
        let name = format!("{n} of ({rows}, {d})");
        cases.push(Case::on_tape(Operation::Embedding, name, table, false, move |tape, x| {
            let ids = Tensor::new(ids.as_slice(), tape.kernels().device())?;
            embedding(tape, &x[0], &ids)
        }));
        let (store, new) = (random.tensor((rows + n, d), 1.0), random.tensor((n, d), 1.0));
        // Every other place, from the end.
        let places: Vec<u32> = (0..n as u32).map(|i| (rows + n) as u32 - 1 - i).collect();
        let name = format!("{n} into ({}, {d})", rows + n);
        cases.push(Case::new(Operation::Rows, name, move |kernels, dtype| {
            let on = |x: &Tensor| x.to_device(kernels.device())?.to_dtype(dtype)?.copy();
            let (store, new) = (on(&store)?, on(&new)?);
            kernels.put_rows(&store, &new, &Tensor::new(places.as_slice(), kernels.device())?)?;
            Ok(vec![store])
        }));
    }
    cases.extend(joined_rows(extent));
    let mut shapes = extent.take([(4, 40)], [(1, 1), (12, 700)]);
    shapes.extend(extent.drawn(5, [16, 500]).into_iter().map(|[heads, reach]| (heads, reach)));
    for (heads, reach) in shapes {
        let mut random = Random::new(5);
        let index = random.ids(2 * reach - 1, 32);
        let table = vec![random.tensor((32, heads), 1.0)];
        let name = format!("{heads} heads, {reach} tokens");
        cases.push(Case::on_tape(Operation::PositionBias, name, table, false, move |tape, x| {
            let index = Tensor::new(index.as_slice(), tape.kernels().device())?;
            position_bias(tape, &x[0], &index)
        }));
    }
    cases
}

/// What is made of the gathers and row copies, and of candle's own joins.
fn joined_rows(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(5, 24, 30)], [(1, 8, 1), (20, 512, 300)]);
    shapes.extend(extent.drawn(11, [20, 300, 100]).into_iter().map(|[rows, d, n]| (rows, d, n)));
    for (rows, d, n) in shapes {
        let mut random = Random::new(11);
        let segments = Segments::packed([n, 0, 1, n]);
        let inputs = vec![random.tensor((rows, d), 1.0), random.tensor((2 * n + 1, d), 1.0)];
        let name = format!("({rows}, {d}) before {n}, 0, 1 and {n}, twice beside each other");
        cases.push(Case::on_tape(Operation::Embedding, name, inputs.clone(), false, move |tape, x| {
            let y = prepend_rows(tape, &x[0], &x[1], &segments)?;
            concat_columns(tape, &y, &scale(tape, &y, 0.5)?)
        }));
        let places: Vec<u32> = (0..2 * n as u32).rev().step_by(2).collect();
        let sources = random.ids(places.len(), rows as u32);
        let name = format!("{} of ({rows}, {d}) in place of others", places.len());
        cases.push(Case::on_tape(Operation::Rows, name, inputs, false, move |tape, x| {
            replace_rows(tape, &x[1], &x[0], &places, &sources)
        }));
    }
    cases
}

fn losses(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shapes = extent.take([(37, 1000, 64)], [(1, 13, 8), (70, 32_128, 128)]);
    shapes.extend(extent.drawn(6, [100, 3000, 200]).into_iter().map(|[m, vocabulary, d]| (m, vocabulary, d)));
    for (m, vocabulary, d) in shapes {
        for smoothing in [0.0, 0.1] {
            let mut random = Random::new(6);
            let labels = random.ids(m, vocabulary as u32);
            let inputs = vec![random.tensor((m, d), 1.0), random.tensor((vocabulary, d), 0.2)];
            let name = format!("({m}, {d}) to {vocabulary}, smoothing {smoothing}");
            cases.push(Case::on_tape(Operation::CrossEntropy, name, inputs, false, move |tape, x| {
                let labels = Tensor::new(labels.as_slice(), tape.kernels().device())?;
                cross_entropy(tape, &x[0], &x[1], &labels, smoothing)
            }));
        }
    }
    cases
}

/// The rows of one attention.
struct Rows {
    queries: Vec<usize>,
    keys: Vec<Range<usize>>,
    causal: bool,
}

impl Rows {
    /// Rows that look at themselves.
    fn own(lengths: &[usize], causal: bool) -> Self {
        let keys = Segments::packed(lengths.iter().copied());
        Self { queries: lengths.to_vec(), keys: keys.ranges().to_vec(), causal }
    }

    /// Rows that look at others.
    fn others(queries: &[usize], keys: &[usize]) -> Self {
        let keys = Segments::packed(keys.iter().copied());
        Self { queries: queries.to_vec(), keys: keys.ranges().to_vec(), causal: false }
    }
}

fn attentions(extent: Extent) -> Vec<Case> {
    // Queries behind a cache with room to grow.
    let cached = Rows { queries: vec![1, 4, 1], keys: vec![3..20, 24..33, 60..61], causal: true };
    let mut shapes = extent.take(
        [
            (2, 8, 0.0, true, Rows::own(&[1, 7, 33, 1], false)),
            (3, 64, 0.1, true, Rows::own(&[5, 40], true)),
            (2, 64, 0.0, false, Rows::others(&[3, 0, 1, 9], &[8, 2, 33, 1])),
        ],
        [
            (2, 64, 0.1, true, Rows::own(&[1500, 1], false)),
            (4, 128, 0.1, true, Rows::own(&[1, 150, 300, 17], true)),
            (2, 64, 0.1, false, Rows::others(&[70, 1, 41], &[600, 1500, 1])),
            (12, 64, 0.0, true, cached),
            (1, 8, 0.0, true, Rows::own(&[1], true)),
        ],
    );
    for [heads, width, a, b, c] in extent.drawn(7, [8, 3, 200, 200, 200]) {
        let width = [8, 64, 128][width - 1];
        shapes.push((heads, width, 0.1, true, Rows::own(&[a, 1, b, c], a % 2 == 0)));
        shapes.push((heads, width, 0.0, false, Rows::others(&[a, b, c], &[c, a, b])));
    }
    shapes
        .into_iter()
        .map(|(heads, width, p, bias, rows)| one_attention(heads, width, p, bias, rows))
        .collect()
}

fn one_attention(heads: usize, width: usize, p: f64, bias: bool, rows: Rows) -> Case {
    let Rows { queries, keys, causal } = rows;
    let lengths = |keys: &[Range<usize>]| keys.iter().map(Range::len).collect::<Vec<_>>();
    let name = format!(
        "{heads} heads of {width}, {queries:?} to {:?}{}{}{}",
        lengths(&keys),
        if causal { ", causal" } else { "" },
        if bias { ", bias" } else { "" },
        if p > 0.0 { ", dropout" } else { "" },
    );
    let (queries, keys) = (Arc::new(Segments::packed(queries)), Arc::new(Segments::at(keys)));
    let layout = AttentionLayout { heads, causal, queries, keys };
    let mut random = Random::new(8);
    let deviation = (width as f64).powf(-0.25);
    let (n_q, n_k, inner) = (layout.queries.end(), layout.keys.end(), heads * width);
    let mut inputs = vec![
        random.tensor((n_q, inner), deviation),
        random.tensor((n_k, inner), deviation),
        random.tensor((n_k, inner), 1.0),
    ];
    let reach = layout.keys.longest().max(layout.queries.longest());
    let index = random.ids(2 * reach - 1, 16);
    if bias {
        inputs.push(random.tensor((16, heads), 1.0));
    }
    Case::on_tape(Operation::Attention, name, inputs, p > 0.0, move |tape, x| {
        let index = Tensor::new(index.as_slice(), tape.kernels().device())?;
        let bias = x.get(3).map(|table| position_bias(tape, table, &index)).transpose()?;
        attention(tape, [&x[0], &x[1], &x[2]], bias.as_ref(), p, &layout)
    })
}

fn updates(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut sizes = extent.take([1000], [1, 1_200_000]);
    sizes.extend(extent.drawn(8, [5000]).into_iter().map(|[n]| n));
    for n in sizes {
        cases.push(Case::new(Operation::AdamW, format!("{n} parameters"), move |kernels, dtype| {
            let mut random = Random::new(9);
            let specs = vec![
                ParameterSpec::new("a", random.tensor(n, 1.0)),
                ParameterSpec { rate: 16.0, decay: false, ..ParameterSpec::new("b", random.tensor(n, 1.0)) },
            ];
            let parameters = Parameters::new(specs, kernels.device(), dtype)?;
            let gradients = parameters.gradients()?;
            let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
            let mut found = Vec::new();
            for step in 1..=3 {
                for i in 0..2 {
                    let new = random.tensor(n, 0.1).to_device(kernels.device())?;
                    parameters.view(i, &gradients)?.slice_set(&new, 0, 0)?;
                }
                let update = Update { step, learning_rate: 0.01, gradient_scale: 0.5, max_grad_norm: 1.0 };
                found.push(adamw.step(&**kernels, &parameters, &gradients, update)?.to_dtype(DType::F32)?);
            }
            found.extend([parameters.state().clone(), gradients]);
            found.extend((0..2).map(|i| parameters.traced(i)).map(|copy: Traced| copy.value().clone()));
            Ok(found)
        }));
    }
    cases
}
