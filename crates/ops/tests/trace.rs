//! Counting what operations cost: one table a process, so a test binary of its own.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::trace::{Phase, start, stop};
use tallow_ops::{AdamW, Cpu, ParameterSpec, Parameters, Tape, Traced, Update, linear};

#[test]
fn a_linear_layer_is_counted_exactly() {
    let zeros = |rows: usize, cols: usize| Tensor::zeros((rows, cols), DType::F32, &Device::Cpu).unwrap();
    let parameters = Parameters::new(vec![ParameterSpec::new("weight", zeros(7, 5))], &Device::Cpu).unwrap();
    let gradients = parameters.gradients().unwrap();
    let step = || {
        let tape = Tape::new(Arc::new(Cpu));
        let x = Traced::constant(zeros(3, 5));
        let hidden = linear(&tape, &x, &parameters.traced(0), None).unwrap();
        let y = linear(&tape, &hidden, &Traced::constant(zeros(2, 7)), None).unwrap();
        tape.backward(y, zeros(3, 2), &gradients).unwrap();
    };
    step();
    start();
    step();
    step();
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let update = Update { step: 1, learning_rate: 0.1, gradient_scale: 1.0 };
    adamw.step(&Cpu, &parameters, &gradients, update).unwrap();
    let table = stop();
    step();

    let found: Vec<_> = table.iter().map(|(key, cost)| (*key, cost.calls, cost.flops)).collect();
    let forward = 2 * (3 * 5 * 7 + 3 * 7 * 2);
    // The second weight is frozen and the first layer's input a constant: one product each.
    let backward = 2 * (3 * 7 * 2 + 7 * 3 * 5);
    let wanted = [
        ((Phase::Forward, "linear"), 4, 2 * forward),
        ((Phase::Backward, "linear"), 4, 2 * backward),
        ((Phase::Update, "adamw"), 1, 0),
    ];
    assert_eq!(found, wanted);
    assert!(stop().is_empty(), "the table is handed out once");
}
