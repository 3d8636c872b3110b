//! Models of FLAN-T5's sizes with random weights, made in a folder that is gone when it is dropped.

use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tallow_peft::{Adapted, Initial, LoraOptions, Method, inject};
use tallow_t5::T5;
use tempfile::TempDir;

const VOCABULARY: usize = 32_128;

/// d_model, heads and d_ff; the layers of each stack. d_kv is 64.
pub struct Size(pub usize, pub usize, pub usize, pub usize);

#[allow(dead_code, reason = "each benchmark takes one of them")]
pub const SMALL: Size = Size(512, 6, 1024, 8);
#[allow(dead_code, reason = "each benchmark takes one of them")]
pub const BASE: Size = Size(768, 12, 2048, 12);

/// Values in (-bound, bound), the same each time.
fn filled(shape: &[usize], bound: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let mut state = 1u32;
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bound * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("there is a value for each element")
}

/// Writes a model of a size, and loads it.
pub fn model(&Size(d, heads, ff, layers): &Size) -> (TempDir, T5) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let config = json!({
        "model_type": "t5", "vocab_size": VOCABULARY, "d_model": d, "d_kv": 64, "d_ff": ff, "num_heads": heads,
        "num_layers": layers, "num_decoder_layers": layers, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("it can be written to");
    let inner = 64 * heads;
    let matrix = |output: usize, input: usize| filled(&[output, input], (3.0 / input as f32).sqrt());
    let norm = || Tensor::ones(d, DType::F32, &Device::Cpu).expect("it can be made");
    let mut tensors = vec![
        ("shared.weight".to_owned(), filled(&[VOCABULARY, d], 1.0)),
        ("lm_head.weight".to_owned(), matrix(VOCABULARY, d)),
    ];
    for (stack, attentions) in
        [("encoder", &["SelfAttention"][..]), ("decoder", &["SelfAttention", "EncDecAttention"])]
    {
        for block in 0..layers {
            let layer = format!("{stack}.block.{block}.layer");
            for (i, attention) in attentions.iter().enumerate() {
                let name = |part: &str| format!("{layer}.{i}.{attention}.{part}.weight");
                tensors.push((name("q"), filled(&[inner, d], 0.1 / (d as f32).sqrt())));
                tensors.extend(["k", "v"].map(|part| (name(part), matrix(inner, d))));
                tensors.push((name("o"), matrix(d, inner)));
                if (i, block) == (0, 0) {
                    tensors.push((name("relative_attention_bias"), filled(&[32, heads], 0.5)));
                }
            }
            let i = attentions.len();
            tensors.extend((0..=i).map(|i| (format!("{layer}.{i}.layer_norm.weight"), norm())));
            let name = |part: &str| format!("{layer}.{i}.DenseReluDense.{part}.weight");
            tensors.extend(["wi_0", "wi_1"].map(|part| (name(part), matrix(ff, d))));
            tensors.push((name("wo"), matrix(d, ff)));
        }
        tensors.push((format!("{stack}.final_layer_norm.weight"), norm()));
    }
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    tallow_t5::tensors::write(&folder.path().join("model.safetensors"), named).expect("it can be written to");
    let model = T5::load(folder.path(), &Device::Cpu, DType::F32).expect("it is a T5");
    (folder, model)
}

/// LoRA of rank 8 on q and v, with none of its values at its start.
pub fn lora(model: &T5, seed: u64) -> Adapted {
    let method = Method::Lora(LoraOptions::default());
    let adapted = inject(model.clone(), &method, Initial::Seed(seed), DType::F32).expect("q and v are there");
    let state = adapted.parameters.state();
    let moved = (state + filled(state.dims(), 0.01)).expect("they are of one shape");
    adapted.parameters.restore(&moved).expect("it is of the buffer's shape");
    adapted
}
