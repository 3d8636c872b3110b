//! Each operation at the sizes of FLAN-T5-small over half a DialogSum batch of 8, which is one thread's share: forward,
//! and forward with backward. `cargo bench -p tallow-ops -- attention` runs some of them.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tallow_ops::{
    AdamW, AttentionLayout, Cpu, Dest, Kernels, Lora, Matrix, ParameterSpec, Parameters, Randomness, Result,
    RowsKernel, Segments, Tape, Traced, Update, add_rms_norm, attention, cross_entropy, dropout, embedding,
    gated_gelu, linear, lora_linear, mul_vector, position_bias, relu, rms_norm,
};

const SOURCE: [usize; 4] = [120, 170, 240, 350];
const TARGET: [usize; 4] = [20, 30, 35, 60];
const D: usize = 512;
const INNER: usize = 384;
const FF: usize = 1024;
const HEADS: usize = 6;
const VOCABULARY: usize = 32_128;

/// What work is counted in.
#[derive(Clone, Copy)]
enum Work {
    /// Floating-point operations of matrix products, forward.
    Flops(usize),
    /// Values that are read and written, forward.
    Values(usize),
}

struct Bench<'a> {
    criterion: &'a mut Criterion,
    pool: ThreadPool,
    kernels: Arc<dyn Kernels>,
}

fn filled(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("there is a value for each element")
}

fn ids(count: usize, below: usize) -> Tensor {
    let ids: Vec<u32> = (0..count).map(|i| ((i * 7919) % below) as u32).collect();
    Tensor::from_vec(ids, count, &Device::Cpu).expect("there is an id for each place")
}

impl Bench<'_> {
    /// An operation over inputs of these shapes, of which the first `trained` have gradients.
    fn operation(
        &mut self,
        name: &str,
        work: Work,
        shapes: &[&[usize]],
        trained: usize,
        build: impl Fn(&Tape, &[Traced]) -> Result<Traced> + Sync,
    ) {
        let specs = shapes[..trained].iter().map(|shape| ParameterSpec::new("x", filled(shape))).collect();
        let parameters = Parameters::new(specs, &Device::Cpu, DType::F32).expect("parameters can be made");
        let traced = (0..trained).map(|i| parameters.traced(i));
        let constant = shapes[trained..].iter().map(|shape| Traced::constant(filled(shape)));
        let inputs: Vec<Traced> = traced.chain(constant).collect();
        let gradients = parameters.gradients().expect("gradients can be made");
        let mut group = self.criterion.benchmark_group(name);
        group.throughput(match work {
            Work::Flops(flops) => Throughput::Elements(flops as u64),
            Work::Values(values) => Throughput::Bytes(4 * values as u64),
        });
        let (kernels, pool) = (&self.kernels, &self.pool);
        group.bench_function("forward", |bencher| {
            let run = || build(&Tape::off(kernels.clone()), &inputs).expect("the operation runs");
            pool.install(|| bencher.iter(run));
        });
        group.bench_function("both", |bencher| {
            let run = || {
                let tape = Tape::with_dropout(kernels.clone(), Randomness::new(1, 1, 0));
                let y = build(&tape, &inputs).expect("the operation runs");
                let slope = y.value().ones_like().expect("a slope can be made");
                tape.backward(y, slope, &gradients).expect("backward runs");
            };
            pool.install(|| bencher.iter(run));
        });
        group.finish();
    }
}

fn operations(criterion: &mut Criterion) {
    let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("the system gives a thread");
    let mut bench = Bench { criterion, pool, kernels: Arc::new(Cpu) };
    let (n, m) = (SOURCE.iter().sum::<usize>(), TARGET.iter().sum::<usize>());
    products(&mut bench, n);
    beside_gemm(&mut bench, n, m);
    attentions(&mut bench, n, m);
    bench.operation(
        "cross_entropy",
        Work::Flops(2 * m * D * VOCABULARY),
        &[&[m, D], &[VOCABULARY, D]],
        1,
        move |tape, x| cross_entropy(tape, &x[0], &x[1], &ids(m, VOCABULARY), 0.0),
    );
    pointwise(&mut bench, n);
    tables(&mut bench, n);
    update(&mut bench);
}

fn products(bench: &mut Bench, n: usize) {
    for (name, rows, input, output) in
        [("linear", n, D, FF), ("linear_q", n, D, INNER), ("linear_generation", 8, D, FF)]
    {
        let flops = Work::Flops(2 * rows * input * output);
        bench.operation(name, flops, &[&[rows, input], &[output, input]], 1, |tape, x| {
            linear(tape, &x[0], &x[1])
        });
    }
    bench.operation(
        "lora_linear",
        Work::Flops(2 * n * D * INNER + 2 * n * 8 * (D + INNER)),
        &[&[n, D], &[8, D], &[INNER, 8], &[INNER, D]],
        3,
        |tape, x| lora_linear(tape, &x[0], &x[3], Lora { a: &x[1], b: &x[2], scale: 4.0, dropout: 0.0 }),
    );
}

/// Products as they come in a step (rows, inner, columns; which operand lies across its memory), on the vector units or the
/// tiles, and by the `gemm` crate.
fn beside_gemm(bench: &mut Bench, n: usize, m: usize) {
    let sizes = [
        ("forward", [n, D, FF], [false, true]),
        ("backward", [n, D, FF], [false, false]),
        ("weight", [D, n, FF], [true, false]),
        ("decoder", [m, D, D], [false, true]),
        ("head", [D, D, m], [false, true]),
        ("scores", [SOURCE[2], INNER / HEADS, SOURCE[2]], [false, true]),
        ("low_rank", [n, 8, INNER], [false, true]),
    ];
    for (name, [rows, inner, columns], across) in sizes {
        let shape = |across: bool, a: usize, b: usize| if across { [b, a] } else { [a, b] };
        let [a, b] = [shape(across[0], rows, inner), shape(across[1], inner, columns)].map(|x| filled(&x));
        let mut group = bench.criterion.benchmark_group(format!("product_{name}"));
        group.throughput(Throughput::Elements((2 * rows * inner * columns) as u64));
        let (kernels, pool) = (&bench.kernels, &bench.pool);
        let view = |x, across| if across { Matrix::t(x) } else { Matrix::new(x) };
        group.bench_function("ours", |bencher| {
            let run = || kernels.matmul(Dest::New, view(&a, across[0]), view(&b, across[1]), 1.0);
            pool.install(|| bencher.iter(|| run().expect("the product is made")));
        });
        let [a, b] =
            [&a, &b].map(|x| x.flatten_all().and_then(|x| x.to_vec1::<f32>()).expect("these are floats"));
        let strides = |across: bool, rows: usize, columns: usize| {
            if across { (rows as isize, 1) } else { (1, columns as isize) }
        };
        let ((a_column, a_row), (b_column, b_row)) =
            (strides(across[0], rows, inner), strides(across[1], inner, columns));
        let mut y = vec![0.0; rows * columns];
        let mut run = || {
            let (y, a, b) = (y.as_mut_ptr(), a.as_ptr(), b.as_ptr());
            let (width, alone) = (columns as isize, gemm::Parallelism::None);
            // SAFETY: the operands and y have this size.
            unsafe {
                gemm::gemm(
                    rows, columns, inner, y, 1, width, false, a, a_column, a_row, b, b_column, b_row, 0.0,
                    1.0, false, false, false, alone,
                );
            }
        };
        group.bench_function("gemm", |bencher| bencher.iter(&mut run));
        group.finish();
    }
}

fn attentions(bench: &mut Bench, n: usize, m: usize) {
    let source = Arc::new(Segments::packed(SOURCE));
    let target = Arc::new(Segments::packed(TARGET));
    let layout = |queries: &Arc<Segments>, keys: &Arc<Segments>, causal| AttentionLayout {
        heads: HEADS,
        causal,
        queries: queries.clone(),
        keys: keys.clone(),
    };
    let reach = 2 * SOURCE[3] - 1;
    let pairs = |a: [usize; 4], b: [usize; 4]| a.iter().zip(b).map(|(a, b)| a * b).sum::<usize>();
    let own = layout(&source, &source, false);
    bench.operation(
        "attention",
        Work::Flops(4 * INNER * pairs(SOURCE, SOURCE)),
        &[&[n, INNER], &[n, INNER], &[n, INNER], &[HEADS, reach]],
        3,
        |tape, x| attention(tape, [&x[0], &x[1], &x[2]], Some(&x[3]), 0.0, &own),
    );
    bench.operation(
        "attention_dropout",
        Work::Flops(4 * INNER * pairs(SOURCE, SOURCE)),
        &[&[n, INNER], &[n, INNER], &[n, INNER], &[HEADS, reach]],
        3,
        |tape, x| attention(tape, [&x[0], &x[1], &x[2]], Some(&x[3]), 0.1, &own),
    );
    let cross = layout(&target, &source, false);
    bench.operation(
        "cross_attention",
        Work::Flops(4 * INNER * pairs(TARGET, SOURCE)),
        &[&[m, INNER], &[n, INNER], &[n, INNER]],
        3,
        |tape, x| attention(tape, [&x[0], &x[1], &x[2]], None, 0.0, &cross),
    );
}

fn pointwise(bench: &mut Bench, n: usize) {
    bench.operation("rms_norm", Work::Values(2 * n * D), &[&[n, D], &[D]], 1, |tape, x| {
        rms_norm(tape, &x[0], &x[1], 1e-6)
    });
    bench.operation("add_rms_norm", Work::Values(4 * n * D), &[&[n, D], &[n, D], &[D]], 2, |tape, x| {
        let [_, y] = add_rms_norm(tape, &x[0], &x[1], 0.1, &x[2], 1e-6)?;
        Ok(y)
    });
    bench.operation("mul_vector", Work::Values(2 * n * FF), &[&[n, FF], &[FF]], 2, |tape, x| {
        mul_vector(tape, &x[0], &x[1], None)
    });
    bench.operation("gated_gelu", Work::Values(3 * n * FF), &[&[n, FF], &[n, FF]], 2, |tape, x| {
        gated_gelu(tape, &x[0], &x[1])
    });
    bench.operation("relu", Work::Values(2 * n * FF), &[&[n, FF]], 1, |tape, x| relu(tape, &x[0]));
    bench.operation("dropout", Work::Values(2 * n * D), &[&[n, D]], 1, |tape, x| dropout(tape, &x[0], 0.1));
}

fn tables(bench: &mut Bench, n: usize) {
    bench.operation("embedding", Work::Values(2 * n * D), &[&[VOCABULARY, D]], 1, move |tape, x| {
        embedding(tape, &x[0], &ids(n, VOCABULARY))
    });
    let reach = 2 * SOURCE[3] - 1;
    bench.operation("position_bias", Work::Values(2 * HEADS * reach), &[&[32, HEADS]], 1, move |tape, x| {
        position_bias(tape, &x[0], &ids(reach, 32))
    });
    let (store, rows, places) = (filled(&[8 * 64, INNER]), filled(&[8, INNER]), ids(8, 8 * 64));
    bench.criterion.bench_function("rows", |bencher| {
        bencher.iter(|| Cpu.put_rows(&store, &rows, &places).expect("rows can be put"));
    });
}

/// As many parameters as LoRA of rank 8 on q and v has.
fn update(bench: &mut Bench) {
    let specs = vec![ParameterSpec::new("x", filled(&[344_064]))];
    let parameters = Parameters::new(specs, &Device::Cpu, DType::F32).expect("parameters can be made");
    let gradients = parameters.gradients().expect("gradients can be made");
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let step = Update { step: 1, learning_rate: 1e-4, gradient_scale: 1.0, max_grad_norm: 1.0 };
    let pool = &bench.pool;
    bench.criterion.bench_function("adamw", |bencher| {
        pool.install(|| {
            bencher.iter(|| adamw.step(&Cpu, &parameters, &gradients, step).expect("a step is made"))
        });
    });
}

criterion_group!(benches, operations);
criterion_main!(benches);
