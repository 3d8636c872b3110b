use candle_core::{Device, Tensor};
use tallow_ops::{Lora, ParameterSpec, Randomness, Tape, Traced, lora_linear};
use tallow_t5::{Adapter, Linear};

use crate::{LoraOptions, Result};

/// One layer's update s B A.
pub(crate) struct LoraAdapter {
    /// (rank, in).
    pub a: Traced,
    /// (out, rank).
    pub b: Traced,
    pub scale: f64,
    pub dropout: f64,
}

impl Adapter for LoraAdapter {
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced) -> tallow_t5::Result<Traced> {
        let lora = Lora { a: &self.a, b: &self.b, scale: self.scale, dropout: self.dropout };
        Ok(lora_linear(tape, x, weight, lora)?)
    }

    fn merge(&self, weight: &Tensor) -> tallow_t5::Result<Option<Tensor>> {
        let update = (self.b.value().matmul(self.a.value())? * self.scale)?;
        Ok(Some((weight + update)?))
    }
}

/// The names of a layer's tensors in peft's files, A before B.
pub(crate) fn names(layer: &str) -> [String; 2] {
    ["A", "B"].map(|matrix| format!("base_model.model.{layer}.lora_{matrix}.weight"))
}

/// The layer that a tensor of peft's files is of.
pub(crate) fn layer(name: &str) -> Option<String> {
    let rest = name.strip_prefix("base_model.model.")?;
    let layer = rest.strip_suffix(".lora_A.weight").or_else(|| rest.strip_suffix(".lora_B.weight"))?;
    Some(layer.to_owned())
}

/// The shapes of a layer's tensors: A (rank, in), B (out, rank).
pub(crate) fn shapes(linear: &Linear, options: &LoraOptions) -> [[usize; 2]; 2] {
    let (output, input) = linear.shape();
    [[options.rank, input], [output, options.rank]]
}

/// A layer's tensors before the first step: A uniform in +-1/sqrt(in), as peft's kaiming_uniform with
/// a = sqrt(5) has it, and B zero, so that the model computes as without.
pub(crate) fn initial(
    linear: &Linear,
    options: &LoraOptions,
    randomness: Randomness,
    site: u32,
) -> Result<[ParameterSpec; 2]> {
    let [a_shape, b_shape] = shapes(linear, options);
    let bound = 1.0 / (a_shape[1] as f32).sqrt();
    let values = randomness.uniform(site, a_shape[0] * a_shape[1]);
    let values: Vec<f32> = values.map(|u| bound * (2.0 * u - 1.0)).collect();
    let [a_name, b_name] = names(linear.name());
    Ok([
        ParameterSpec::new(a_name, Tensor::from_vec(values, &a_shape, &Device::Cpu)?),
        ParameterSpec::new(b_name, Tensor::zeros(&b_shape, candle_core::DType::F32, &Device::Cpu)?),
    ])
}
