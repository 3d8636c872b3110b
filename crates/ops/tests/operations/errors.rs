use std::sync::Arc;

use candle_core::{DType, Tensor};
use tallow_ops::{
    AttentionLayout, Lora, ParameterSpec, Parameters, Result, Segments, Tape, Traced, add, add_rms_norm,
    add_vector, attention, concat_columns, cross_entropy, embedding, gated_gelu, linear, lora_linear,
    mul_vector, position_bias, prepend_rows, relu, replace_rows, rms_norm, scale,
};

use crate::harness::{DEVICE, both, cpu};

fn zeros(shape: &[usize]) -> Traced {
    Traced::constant(Tensor::zeros(shape, DType::F32, DEVICE).unwrap())
}

fn ids(ids: &[u32]) -> Tensor {
    Tensor::new(ids, DEVICE).unwrap()
}

/// Fails on all kernels; with exactly this message on those for the CPU.
#[track_caller]
fn refused(wanted: &str, run: impl Fn(&Tape) -> Result<Traced>) {
    for kernels in both() {
        let name = kernels.name();
        let Err(error) = run(&Tape::new(kernels)) else { panic!("{name}: accepted, not {wanted}") };
        // candle's errors may carry a backtrace.
        let error = error.to_string();
        let line = error.lines().next().unwrap_or_default();
        assert!(name != "cpu" || line == wanted, "{line}\nnot\n{wanted}");
    }
}

#[test]
fn shapes_have_to_go_together() {
    refused("matmul: (2, 3) x (4, 5)", |tape| linear(tape, &zeros(&[2, 3]), &zeros(&[5, 4])));
    refused("matmul: (2, 3) x (4, 1)", |tape| {
        let (a, b) = (zeros(&[1, 4]), zeros(&[5, 1]));
        lora_linear(tape, &zeros(&[2, 3]), &zeros(&[5, 3]), Lora { a: &a, b: &b, scale: 1.0, dropout: 0.0 })
    });
    refused("accumulate: [2, 6] to [2, 5]", |tape| {
        let (a, b) = (zeros(&[1, 3]), zeros(&[6, 1]));
        lora_linear(tape, &zeros(&[2, 3]), &zeros(&[5, 3]), Lora { a: &a, b: &b, scale: 1.0, dropout: 0.0 })
    });
    refused("rms_norm: weight [4] for rows of 3", |tape| rms_norm(tape, &zeros(&[2, 3]), &zeros(&[4]), 1e-6));
    refused("rms_norm: weight [1] for rows of 3", |tape| rms_norm(tape, &zeros(&[2, 3]), &zeros(&[1]), 1e-6));
    refused("columns: [4] for rows of 3", |tape| mul_vector(tape, &zeros(&[2, 3]), &zeros(&[4]), None));
    refused("columns: [1] for rows of 3", |tape| {
        mul_vector(tape, &zeros(&[2, 3]), &zeros(&[3]), Some(zeros(&[1]).value()))
    });
    refused("columns: [1, 3] for rows of 3", |tape| add_vector(tape, &zeros(&[2, 3]), &zeros(&[1, 3])));
    refused("gated_gelu: [2, 3] and [3, 2]", |tape| gated_gelu(tape, &zeros(&[2, 3]), &zeros(&[3, 2])));
    refused("accumulate: [3, 2] to [2, 3]", |tape| add(tape, &zeros(&[2, 3]), &zeros(&[3, 2])));
    refused("rms_norm: [3, 2] added to [2, 3]", |tape| {
        Ok(add_rms_norm(tape, &zeros(&[2, 3]), &zeros(&[3, 2]), 0.0, &zeros(&[3]), 1e-6)?[1].clone())
    });
    refused("cross_entropy: hidden (2, 3), head (5, 4), 2 labels", |tape| {
        cross_entropy(tape, &zeros(&[2, 3]), &zeros(&[5, 4]), &ids(&[0, 0]), 0.0)
    });
    refused("cross_entropy: hidden (2, 3), head (5, 3), 3 labels", |tape| {
        cross_entropy(tape, &zeros(&[2, 3]), &zeros(&[5, 3]), &ids(&[0, 0, 0]), 0.0)
    });
}

#[test]
fn joined_rows_have_to_go_together() {
    let (x, rows) = (zeros(&[5, 3]), zeros(&[2, 3]));
    let prepend = |prefix: &Traced, segments: Segments| {
        let (prefix, x) = (prefix.clone(), x.clone());
        move |tape: &Tape| prepend_rows(tape, &prefix, &x, &segments)
    };
    refused("prepend_rows: rows of 4 before rows of 3", prepend(&zeros(&[2, 4]), Segments::packed([5])));
    let uncovered = "prepend_rows: segments to 4 that do not cover 5 rows";
    refused(uncovered, prepend(&rows, Segments::packed([3, 1])));
    let uncovered = "prepend_rows: segments to 5 that do not cover 5 rows";
    refused(uncovered, prepend(&rows, Segments::at(vec![0..2, 3..5])));
    refused(uncovered, prepend(&rows, Segments::at(vec![3..5, 0..3])));
    refused("concat_columns: 5 rows beside 2", |tape| concat_columns(tape, &x, &rows));
    let replace = |rows: &Traced, places: &'static [u32], sources: &'static [u32]| {
        let (rows, x) = (rows.clone(), x.clone());
        move |tape: &Tape| replace_rows(tape, &x, &rows, places, sources)
    };
    refused("replace_rows: 1 of (2, 4) to 1 places of (5, 3)", replace(&zeros(&[2, 4]), &[0], &[0]));
    refused("replace_rows: 1 of (2, 3) to 2 places of (5, 3)", replace(&rows, &[0, 1], &[0]));
    refused("replace_rows: place 5 of 5", replace(&rows, &[0, 5], &[0, 0]));
    refused("replace_rows: place 4 is named twice", replace(&rows, &[4, 0, 4], &[0, 1, 1]));
    refused("replace_rows: row 2 of 2", replace(&rows, &[0, 1], &[0, 2]));
}

#[test]
fn numbers_have_to_be_in_range() {
    refused("embedding: id 4 in a table of 4 rows", |tape| embedding(tape, &zeros(&[4, 3]), &ids(&[0, 4])));
    refused("position_bias: bucket 9 of 4", |tape| position_bias(tape, &zeros(&[4, 3]), &ids(&[9])));
    refused("cross_entropy: label 5 of 5", |tape| {
        cross_entropy(tape, &zeros(&[2, 3]), &zeros(&[5, 3]), &ids(&[0, 5]), 0.0)
    });
}

#[test]
fn attention_checks_its_layout() {
    let layout = |causal, queries: Segments, keys: Segments| AttentionLayout {
        heads: 2,
        causal,
        queries: Arc::new(queries),
        keys: Arc::new(keys),
    };
    let run = |layout: &AttentionLayout, q: &[usize], k: &[usize], v: &[usize], bias: Option<&[usize]>| {
        let (q, k, v, bias) = (zeros(q), zeros(k), zeros(v), bias.map(zeros));
        let layout = layout.clone();
        move |tape: &Tape| attention(tape, [&q, &k, &v], bias.as_ref(), 0.0, &layout)
    };
    let packed = |lengths: &[usize]| Segments::packed(lengths.iter().copied());
    let square = layout(false, packed(&[3, 2]), packed(&[3, 2]));
    let x: &[usize] = &[5, 8];
    refused(
        "attention: q [5, 7], k [5, 7], v [5, 7], 2 heads",
        run(&square, &[5, 7], &[5, 7], &[5, 7], None),
    );
    refused("attention: q [5, 8], k [5, 6], v [5, 6], 2 heads", run(&square, x, &[5, 6], &[5, 6], None));
    refused("attention: q [5, 8], k [5, 8], v [4, 8], 2 heads", run(&square, x, x, &[4, 8], None));
    let none = AttentionLayout { heads: 0, ..square.clone() };
    refused("attention: q [5, 8], k [5, 8], v [5, 8], 0 heads", run(&none, x, x, x, None));
    refused("attention: segments end at 5 and 5", run(&square, x, &[4, 8], &[4, 8], None));
    let uneven = layout(false, packed(&[3, 2]), packed(&[5]));
    refused("attention: 2 rows of queries, 1 of keys", run(&uneven, x, x, x, None));
    let blind = layout(false, packed(&[3, 2]), packed(&[5, 0]));
    refused("attention: a row has queries and no keys", run(&blind, x, x, x, None));
    let ahead = layout(true, packed(&[3, 2]), packed(&[2, 2]));
    refused("attention: a causal row has more queries than keys", run(&ahead, x, x, x, None));
    let twice = layout(false, Segments::at(vec![0..3, 2..5]), packed(&[3, 2]));
    refused("attention: rows overlap", run(&twice, x, x, x, None));
    refused("attention: bias [2, 3] for 2 heads, rows of 3", run(&square, x, x, x, Some(&[2, 3])));
    refused("attention: bias [2, 6] for 2 heads, rows of 3", run(&square, x, x, x, Some(&[2, 6])));
    refused("attention: bias [3, 5] for 2 heads, rows of 3", run(&square, x, x, x, Some(&[3, 5])));
    // A table that reaches the keys has to reach the queries too.
    let tall = layout(false, packed(&[5]), packed(&[2]));
    refused("attention: bias [2, 3] for 2 heads, rows of 5", run(&tall, x, x, x, Some(&[2, 3])));
}

#[test]
fn keys_that_receive_gradients_belong_to_one_row() {
    let rows = |ranges| Arc::new(Segments::at(ranges));
    let layout = AttentionLayout {
        heads: 1,
        causal: false,
        queries: rows(vec![0..1, 1..2]),
        keys: rows(vec![0..2, 0..2]),
    };
    let zeros = Tensor::zeros((2, 4), DType::F32, DEVICE).unwrap();
    let parameters = Parameters::new(vec![ParameterSpec::new("x", zeros)], DEVICE, DType::F32).unwrap();
    let (x, constant) = (parameters.traced(0), Traced::constant(parameters.traced(0).value().clone()));
    refused("attention: rows overlap", |tape| {
        attention(tape, [&constant, &constant, &x], None, 0.0, &layout)
    });
    assert!(attention(&Tape::off(cpu()), [&x, &x, &x], None, 0.0, &layout).is_ok());
}

#[test]
fn gradients_have_the_shape_of_the_output() {
    let zeros = || Tensor::zeros((2, 4), DType::F32, DEVICE).unwrap();
    let parameters = Parameters::new(vec![ParameterSpec::new("x", zeros())], DEVICE, DType::F32).unwrap();
    for kernels in both() {
        let tape = Tape::new(kernels);
        let y = relu(&tape, &parameters.traced(0)).unwrap();
        let short = zeros().narrow(0, 0, 1).unwrap();
        let error = tape.backward(y, short, &parameters.gradients().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "backward: a gradient [1, 4] of an output [2, 4]");
    }
}

#[test]
fn cpu_kernels_read_contiguous_f32() {
    let message = |result: Result<Traced>| result.map(|_| ()).unwrap_err().to_string();
    let tape = || Tape::new(cpu());
    let x = zeros(&[3, 3]);
    let double = Traced::constant(x.value().to_dtype(DType::F64).unwrap());
    let turned = Traced::constant(x.value().t().unwrap());
    for (bad, found) in [(&double, "F64"), (&turned, "F32")] {
        let wanted = format!("cpu kernels read contiguous F32 tensors, not {found} [3, 3]");
        let weight = zeros(&[3]);
        let lora = |a| Lora { a, b: &x, scale: 1.0, dropout: 0.0 };
        assert_eq!(message(linear(&tape(), bad, &x)), wanted);
        assert_eq!(message(linear(&tape(), &x, bad)), wanted);
        assert_eq!(message(lora_linear(&tape(), &x, &x, lora(bad))), wanted);
        assert_eq!(message(rms_norm(&tape(), bad, &weight, 1e-6)), wanted);
        assert_eq!(message(gated_gelu(&tape(), &x, bad)), wanted);
        assert_eq!(message(relu(&tape(), bad)), wanted);
        assert_eq!(message(scale(&tape(), bad, 1.0)), wanted);
        assert_eq!(message(add(&tape(), bad, &x)), wanted);
        assert_eq!(message(add(&tape(), &x, bad)), wanted);
        let sum = add_rms_norm(&tape(), &x, bad, 0.0, &weight, 1e-6);
        assert_eq!(message(sum.map(|[sum, _]| sum)), wanted);
        assert_eq!(message(mul_vector(&tape(), bad, &weight, None)), wanted);
        assert_eq!(message(add_vector(&tape(), bad, &weight)), wanted);
        assert_eq!(message(embedding(&tape(), bad, &ids(&[0]))), wanted);
        assert_eq!(message(position_bias(&tape(), bad, &ids(&[0]))), wanted);
        assert_eq!(message(cross_entropy(&tape(), bad, &x, &ids(&[0, 0, 0]), 0.0)), wanted);
        let rows = Arc::new(Segments::packed([3]));
        let layout = AttentionLayout { heads: 1, causal: false, queries: rows.clone(), keys: rows };
        assert_eq!(message(attention(&tape(), [&x, bad, &x], None, 0.0, &layout)), wanted);
    }
    let signed = Tensor::new(&[0i64, 1], DEVICE).unwrap();
    let wanted = "cpu kernels read contiguous U32 tensors, not I64 [2]";
    assert_eq!(message(embedding(&tape(), &x, &signed)), wanted);
    assert_eq!(message(cross_entropy(&tape(), &zeros(&[2, 3]), &x, &signed, 0.0)), wanted);
}

#[test]
fn matrices_have_two_dimensions() {
    let (vector, cube) = (zeros(&[3]), zeros(&[2, 2, 3]));
    for kernels in both() {
        let tape = Tape::new(kernels);
        assert!(linear(&tape, &vector, &zeros(&[5, 3])).is_err());
        assert!(rms_norm(&tape, &cube, &vector, 1e-6).is_err());
        assert!(mul_vector(&tape, &cube, &vector, None).is_err());
        assert!(add_vector(&tape, &cube, &vector).is_err());
        assert!(concat_columns(&tape, &cube, &cube).is_err());
        assert!(prepend_rows(&tape, &vector, &zeros(&[2, 3]), &Segments::packed([2])).is_err());
        assert!(replace_rows(&tape, &cube, &zeros(&[2, 3]), &[], &[]).is_err());
        assert!(cross_entropy(&tape, &cube, &zeros(&[5, 3]), &ids(&[0, 0]), 0.0).is_err());
        let rows = Arc::new(Segments::packed([2]));
        let layout = AttentionLayout { heads: 1, causal: false, queries: rows.clone(), keys: rows };
        assert!(attention(&tape, [&cube; 3], None, 0.0, &layout).is_err());
    }
}
