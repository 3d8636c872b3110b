use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tallow_ops::{Tape, Traced, add_vector, linear, relu};
use tallow_t5::{OutputAdapter, OutputPlace, Sublayer, T5};

use crate::Result;
use crate::file::{ADAPTER_NAME, ConfigFile, Plain, map};
use crate::kind::{Draft, Kind, Start, Trained};

/// Settings of bottleneck adapters behind sublayers. Houlsby et al. 2019, Pfeiffer et al. 2021.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BottleneckOptions {
    /// d_model is so many times the bottleneck's width.
    pub reduction_factor: f64,
    /// The sublayers that an adapter stands behind.
    pub after: Vec<AfterSublayer>,
    /// What an adapter reads.
    pub reads: Reads,
}

/// A kind of sublayer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterSublayer {
    /// Self-attention; AdapterHub's `mh_adapter`.
    Attention,
    /// Cross-attention; AdapterHub's `cross_adapter`.
    CrossAttention,
    /// The feed-forward layer; AdapterHub's `output_adapter`.
    FeedForward,
}

/// What a bottleneck adapter reads; what it computes is added to the stream either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// The stream, the sublayer's output in it; AdapterHub's `original_ln_before`, as in `seq_bn`.
    #[default]
    Stream,
    /// The sublayer's output, as in `double_seq_bn`.
    Output,
}

impl Default for BottleneckOptions {
    /// AdapterHub's `seq_bn`.
    fn default() -> Self {
        Self { reduction_factor: 16.0, after: vec![AfterSublayer::FeedForward], reads: Reads::Stream }
    }
}

impl AfterSublayer {
    fn is_at(self, place: &OutputPlace) -> bool {
        let sublayer = match self {
            Self::Attention => Sublayer::SelfAttention,
            Self::CrossAttention => Sublayer::CrossAttention,
            Self::FeedForward => Sublayer::FeedForward,
        };
        place.sublayer == sublayer
    }
}

/// up(relu(down(x))).
struct BottleneckAdapter {
    /// (width, d).
    down: Traced,
    down_bias: Traced,
    /// (d, width).
    up: Traced,
    up_bias: Traced,
    reads: Reads,
}

impl OutputAdapter for BottleneckAdapter {
    fn forward(&self, tape: &Tape, output: &Traced, stream: &Traced) -> tallow_t5::Result<Traced> {
        let x = if self.reads == Reads::Stream { stream } else { output };
        let hidden = relu(tape, &add_vector(tape, &linear(tape, x, &self.down)?, &self.down_bias)?)?;
        Ok(add_vector(tape, &linear(tape, &hidden, &self.up)?, &self.up_bias)?)
    }

    fn kept(&self) -> usize {
        let [width, d] = [0, 1].map(|i| self.down.value().dims()[i]);
        d + width
    }
}

impl BottleneckOptions {
    fn width(&self, d: usize) -> usize {
        ((d as f64 / self.reduction_factor) as usize).max(1)
    }

    fn is_at(&self, place: &OutputPlace) -> bool {
        self.after.iter().any(|after| after.is_at(place))
    }

    /// Reads AdapterHub's config.
    pub(crate) fn read(config: &ConfigFile) -> Result<Self> {
        let off = [
            "adapter_residual_before_ln",
            "inv_adapter",
            "is_parallel",
            "leave_out",
            "ln_after",
            "ln_before",
            "phm_layer",
            "use_gating",
        ];
        config.refuse(&off)?;
        config.harmless(&[
            "dropout",
            "factorized_phm_W",
            "factorized_phm_rule",
            "hypercomplex_nonlinearity",
            "init_weights",
            "init_weights_seed",
            "inv_adapter_reduction_factor",
            "learn_phm",
            "phm_bias",
            "phm_c_init",
            "phm_dim",
            "phm_init_range",
            "phm_rank",
            "residual_before_ln",
            "shared_W_phm",
            "shared_phm_rule",
        ]);
        for (key, wanted) in
            [("non_linearity", json!("relu")), ("scaling", json!(1.0)), ("original_ln_after", json!(true))]
        {
            if let Some(found) = config.get(key).filter(|&found| *found != wanted) {
                return Err(config.fail(format!("{key} is {found}; {wanted} can be read")));
            }
        }
        if config.optional_number("stochastic_depth")?.is_some_and(|share| share > 0.0) {
            return Err(config.fail("stochastic_depth is not 0, which cannot be read".to_owned()));
        }
        let places = [
            ("mh_adapter", AfterSublayer::Attention),
            ("cross_adapter", AfterSublayer::CrossAttention),
            ("output_adapter", AfterSublayer::FeedForward),
        ];
        let after = places.into_iter().filter(|(key, _)| config.is_on(key)).map(|(_, after)| after).collect();
        let reads = if config.is_on("original_ln_before") { Reads::Stream } else { Reads::Output };
        config.check(Self { reduction_factor: config.number("reduction_factor")?, after, reads })
    }
}

impl Kind for BottleneckOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(self.reduction_factor >= 1.0 / 64.0 && self.reduction_factor.is_finite()) {
            problems.push(("reduction_factor", "must be a number from 1/64".to_owned()));
        }
        if self.after.is_empty() {
            let what = "is empty: name at least one of attention, cross_attention, feed_forward";
            problems.push(("after", what.to_owned()));
        }
        problems
    }

    fn describe(&self) -> String {
        let name = |after: &AfterSublayer| match after {
            AfterSublayer::Attention => "attention",
            AfterSublayer::CrossAttention => "cross-attention",
            AfterSublayer::FeedForward => "feed-forward",
        };
        let names: Vec<&str> = self.after.iter().map(name).collect();
        format!("bottleneck adapters of 1/{} behind {}", self.reduction_factor, names.join(", "))
    }

    fn draft(&self, model: &T5, _fresh: bool) -> Result<Draft> {
        let (d, width) = (model.config.d_model, self.width(model.config.d_model));
        let mut model = model.clone();
        let places = model.outputs_mut().into_iter();
        let layers: Vec<String> = places.filter(|place| self.is_at(place)).map(|place| place.name).collect();
        let mut tensors = Vec::new();
        for layer in &layers {
            let name = |part: &str| format!("{layer}.adapters.{ADAPTER_NAME}.{part}");
            // As BERT's weights, AdapterHub's default, but that nothing is added at first.
            tensors.push(Trained::new(name("adapter_down.0.weight"), [width, d], Start::Normal(0.02)));
            tensors.push(Trained::new(name("adapter_down.0.bias"), [width], Start::Zeros));
            tensors.push(Trained::new(name("adapter_up.weight"), [d, width], Start::Zeros));
            tensors.push(Trained::new(name("adapter_up.bias"), [d], Start::Zeros));
        }
        let reads = self.reads;
        Ok(Draft {
            layout: Box::new(Plain::same(&tensors)),
            tensors,
            hook: Box::new(move |model, traced| {
                let mut places = model.outputs_mut();
                for (layer, parts) in layers.iter().zip(traced.chunks_exact(4)) {
                    let [down, down_bias, up, up_bias] = [0, 1, 2, 3].map(|i| parts[i].clone());
                    let adapter = BottleneckAdapter { down, down_bias, up, up_bias, reads };
                    let place = places.iter_mut().find(|place| place.name == *layer);
                    *place.expect("the sublayer was found before").adapter = Some(Arc::new(adapter));
                }
                Ok(())
            }),
        })
    }

    /// AdapterHub's, with all keys of its `seq_bn`.
    fn config(&self, model: &T5) -> Map<String, Value> {
        let has = |after| self.after.contains(&after);
        map(json!({
            "config": {
                "adapter_residual_before_ln": false,
                "cross_adapter": has(AfterSublayer::CrossAttention),
                "dropout": 0.0,
                "factorized_phm_W": true,
                "factorized_phm_rule": false,
                "hypercomplex_nonlinearity": "glorot-uniform",
                "init_weights": "bert",
                "init_weights_seed": null,
                "inv_adapter": null,
                "inv_adapter_reduction_factor": null,
                "is_parallel": false,
                "learn_phm": true,
                "leave_out": [],
                "ln_after": false,
                "ln_before": false,
                "mh_adapter": has(AfterSublayer::Attention),
                "non_linearity": "relu",
                "original_ln_after": true,
                "original_ln_before": self.reads == Reads::Stream,
                "output_adapter": has(AfterSublayer::FeedForward),
                "phm_bias": true,
                "phm_c_init": "normal",
                "phm_dim": 4,
                "phm_init_range": 0.0001,
                "phm_layer": false,
                "phm_rank": 1,
                "reduction_factor": crate::file::whole(self.reduction_factor),
                "residual_before_ln": true,
                "scaling": 1.0,
                "shared_W_phm": false,
                "shared_phm_rule": true,
                "stochastic_depth": 0.0,
                "use_gating": false,
            },
            "hidden_size": model.config.d_model,
            "model_class": "T5ForConditionalGeneration",
            "model_type": "t5",
            "name": ADAPTER_NAME,
            "version": "adapters.1.3.0",
        }))
    }
}
