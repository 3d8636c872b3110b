use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tallow_ops::{Tape, Traced, linear, mul_vector};
use tallow_t5::{Adapter, Keeps, Linear, Stream, T5};

use crate::file::{ConfigFile, Form, Place, Plain, prefixed};
use crate::kind::{Draft, Kind, Start, Trained};
use crate::{Result, TargetModules};

/// IA3's settings, by peft's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ia3Options {
    /// The layers whose output is scaled, or, of feed-forward modules, their input.
    pub target_modules: TargetModules,
    /// Of these, the ones whose input is scaled.
    pub feedforward_modules: TargetModules,
}

impl Default for Ia3Options {
    /// Keys, values, and the feed-forward's inner activation.
    fn default() -> Self {
        Self {
            target_modules: TargetModules::suffixes(["k", "v", "wo"]),
            feedforward_modules: TargetModules::suffixes(["wo"]),
        }
    }
}

/// A layer's output, or its input, times l. Liu et al. 2022.
struct Ia3Adapter {
    /// (out), or (in) before the layer.
    factors: Traced,
    before: bool,
}

impl Adapter for Ia3Adapter {
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced, _at: &Stream) -> tallow_t5::Result<Traced> {
        Ok(match self.before {
            true => linear(tape, &mul_vector(tape, x, &self.factors, None)?, weight)?,
            false => mul_vector(tape, &linear(tape, x, weight)?, &self.factors, None)?,
        })
    }

    fn merge(&self, weight: &Tensor) -> tallow_t5::Result<Option<Tensor>> {
        let factors = self.factors.value();
        let factors = if self.before { factors.unsqueeze(0)? } else { factors.unsqueeze(1)? };
        Ok(Some(weight.broadcast_mul(&factors.to_dtype(weight.dtype())?)?))
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: self.before, output: !self.before, values: 0 }
    }
}

/// A layer that is adapted.
struct Layer {
    name: String,
    output: usize,
    input: usize,
    before: bool,
}

impl Ia3Options {
    /// The layers that are adapted, in the model's order.
    fn layers(&self, model: &T5) -> Result<Vec<Layer>> {
        let mut model = model.clone();
        let linears: Vec<&Linear> = model.linears_mut().into_iter().map(|linear| &*linear).collect();
        let names = || linears.iter().map(|linear| linear.name());
        let selected = self.target_modules.select(names())?;
        let before = self.feedforward_modules.matching(names())?;
        let layers = linears.iter().zip(selected).zip(before).filter(|((_, selected), _)| *selected);
        let layer = |((linear, _), before): ((&&Linear, _), _)| {
            let (output, input) = linear.shape();
            Layer { name: linear.name().to_owned(), output, input, before }
        };
        Ok(layers.map(layer).collect())
    }

    pub(crate) fn read(config: &ConfigFile) -> Result<Self> {
        let feedforward_modules = config.targets("feedforward_modules")?;
        Ok(Self {
            target_modules: config.required_targets()?,
            feedforward_modules: feedforward_modules.unwrap_or(TargetModules::Suffixes(Vec::new())),
        })
    }
}

impl Kind for Ia3Options {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let targets = self.target_modules.problem().map(|problem| ("target_modules", problem));
        let before = match &self.feedforward_modules {
            TargetModules::Suffixes(names) if names.is_empty() => None,
            modules => modules.problem().map(|problem| ("feedforward_modules", problem)),
        };
        targets.into_iter().chain(before).collect()
    }

    fn describe(&self) -> String {
        format!("IA3 on {}", self.target_modules)
    }

    fn draft(&self, model: &T5, _fresh: bool) -> Result<Draft> {
        let layers = self.layers(model)?;
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for Layer { name, output, input, before } in &layers {
            let name = prefixed(&format!("{name}.ia3_l"));
            let (shape, stored) =
                if *before { (*input, vec![1, *input]) } else { (*output, vec![*output, 1]) };
            tensors.push(Trained::new(&name, [shape], Start::Ones));
            places.push(Place { name, shape: vec![shape], form: Form::Shaped(stored) });
        }
        Ok(Draft {
            tensors,
            layout: Box::new(Plain(places)),
            hook: Box::new(move |model, traced| {
                let mut linears = model.linears_mut();
                for (layer, factors) in layers.into_iter().zip(traced) {
                    let adapter = Ia3Adapter { factors: factors.clone(), before: layer.before };
                    let linear = linears.iter_mut().find(|linear| linear.name() == layer.name);
                    linear.expect("the layer was found before").adapter = Some(Arc::new(adapter));
                }
                Ok(())
            }),
        })
    }

    fn config(&self, _model: &T5) -> Map<String, Value> {
        crate::file::map(json!({
            "exclude_modules": null,
            "fan_in_fan_out": false,
            "feedforward_modules": self.feedforward_modules,
            "init_ia3_weights": true,
            "modules_to_save": null,
            "peft_type": "IA3",
            "target_modules": self.target_modules,
        }))
    }
}
