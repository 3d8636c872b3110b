//! Counting what operations cost: one table a process, so a test binary of its own.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::trace::{HostClock, Phase, start, stop};
use tallow_ops::{
    AdamW, AttentionLayout, Cpu, ParameterSpec, Parameters, Segments, Tape, Traced, Update, attention,
    linear, scale,
};

#[test]
fn products_are_counted_exactly() {
    let zeros = |rows: usize, cols: usize| Tensor::zeros((rows, cols), DType::F32, &Device::Cpu).unwrap();
    let parameters =
        Parameters::new(vec![ParameterSpec::new("weight", zeros(7, 5))], &Device::Cpu, DType::F32).unwrap();
    let gradients = parameters.gradients().unwrap();
    let queries =
        Parameters::new(vec![ParameterSpec::new("q", zeros(303, 8))], &Device::Cpu, DType::F32).unwrap();
    let step = || {
        let tape = Tape::new(Arc::new(Cpu));
        let x = Traced::constant(zeros(3, 5));
        let hidden = linear(&tape, &x, &parameters.traced(0)).unwrap();
        let y = linear(&tape, &hidden, &Traced::constant(zeros(2, 7))).unwrap();
        tape.backward(y, zeros(3, 2), &gradients).unwrap();
    };
    let attend = || {
        let rows = Arc::new(Segments::packed([3, 300]));
        let layout = AttentionLayout { heads: 2, causal: false, queries: rows.clone(), keys: rows };
        let (tape, x) = (Tape::new(Arc::new(Cpu)), Traced::constant(zeros(303, 8)));
        let q = scale(&tape, &queries.traced(0), 1.0).unwrap();
        let y = attention(&tape, [&q, &x, &x], None, 0.0, &layout).unwrap();
        tape.backward(y, zeros(303, 8), &queries.gradients().unwrap()).unwrap();
    };
    step();
    start(Box::new(HostClock));
    step();
    step();
    attend();
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let update = Update { step: 1, learning_rate: 0.1, gradient_scale: 1.0, max_grad_norm: 0.0 };
    adamw.step(&Cpu, &parameters, &gradients, update).unwrap();
    let table = stop();
    step();

    let found: Vec<_> = table.iter().map(|(key, cost)| (*key, cost.calls, cost.flops)).collect();
    let forward = 2 * (3 * 5 * 7 + 3 * 7 * 2);
    // The second weight is frozen and the first layer's input a constant: one product each.
    let backward = 2 * (3 * 7 * 2 + 7 * 3 * 5);
    // By row of the batch and head, whatever the threads: q k^T and P v; q k^T, dP and dq.
    let product = 2 * 2 * 4 * (3 * 3 + 300 * 300);
    let wanted = [
        ((Phase::Forward, "attention"), 1, 2 * product),
        ((Phase::Forward, "linear"), 4, 2 * forward),
        ((Phase::Forward, "scale"), 1, 0),
        ((Phase::Backward, "attention"), 1, 3 * product),
        ((Phase::Backward, "linear"), 4, 2 * backward),
        ((Phase::Backward, "scale"), 1, 0),
        ((Phase::Update, "adamw"), 1, 0),
    ];
    assert_eq!(found, wanted);
    assert!(stop().is_empty(), "the table is handed out once");
}
