use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tallow_ops::{Dest, Kernels, Tape, Traced, linear, mul_vector};
use tallow_t5::{Adapter, AroundProduct, Keeps, Linear, Stream, T5};

use crate::file::{ConfigFile, Form, Place, Plain, prefixed};
use crate::kind::{Draft, Kind, Start, Trained, linear_named};
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
#[derive(Clone)]
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

    fn around_product(&self, _weight: &Tensor) -> tallow_t5::Result<Option<Arc<dyn AroundProduct>>> {
        Ok(Some(Arc::new(self.clone())))
    }
}

impl AroundProduct for Ia3Adapter {
    fn before(&self, kernels: &dyn Kernels, x: &Tensor) -> tallow_t5::Result<Option<Tensor>> {
        match self.before {
            true => Ok(Some(kernels.mul_columns(Dest::New, x, self.factors.value(), None)?)),
            false => Ok(None),
        }
    }

    fn after(&self, kernels: &dyn Kernels, _x: &Tensor, y: &Tensor) -> tallow_t5::Result<()> {
        match self.before {
            true => Ok(()),
            false => {
                let scaled = kernels.mul_columns(Dest::New, y, self.factors.value(), None)?;
                Ok(y.slice_set(&scaled, 0, 0)?)
            }
        }
    }
}

/// A layer that is adapted.
struct Scaled {
    layer: String,
    output: usize,
    input: usize,
    /// Whether its input is scaled.
    before: bool,
}

impl Ia3Options {
    /// The layers that are adapted.
    fn layers(&self, model: &T5) -> Result<Vec<Scaled>> {
        let mut model = model.clone();
        let linears: Vec<&Linear> = model.linears_mut().into_iter().map(|linear| &*linear).collect();
        let names = || linears.iter().map(|linear| linear.name());
        let selected = self.target_modules.select(names())?;
        let before = self.feedforward_modules.matching(names())?;
        let layers = linears.iter().zip(selected).zip(before).filter(|((_, selected), _)| *selected);
        let layers = layers.map(|((linear, _), before)| {
            let (output, input) = linear.shape();
            Scaled { layer: linear.name().to_owned(), output, input, before }
        });
        Ok(layers.collect())
    }

    /// peft wants the one list to be a part of the other: where it is not, both name whole layers.
    fn as_peft_allows(&self, model: &T5) -> Self {
        let (TargetModules::Suffixes(targets), TargetModules::Suffixes(before)) =
            (&self.target_modules, &self.feedforward_modules)
        else {
            return self.clone();
        };
        if before.iter().all(|name| targets.contains(name)) {
            return self.clone();
        }
        // The method is hooked to the model, so that its targets are there.
        let layers = self.layers(model).unwrap_or_default();
        let scaled = layers.iter().filter(|scaled| scaled.before).map(|scaled| scaled.layer.clone());
        Self {
            feedforward_modules: TargetModules::Suffixes(scaled.collect()),
            target_modules: TargetModules::Suffixes(
                layers.iter().map(|scaled| scaled.layer.clone()).collect(),
            ),
        }
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
        for Scaled { layer, output, input, before } in &layers {
            let name = prefixed(&format!("{layer}.ia3_l"));
            let (shape, stored) =
                if *before { (*input, vec![1, *input]) } else { (*output, vec![*output, 1]) };
            tensors.push(Trained::new(&name, [shape], Start::Ones));
            places.push(Place { name, shape: vec![shape], form: Form::Shaped(stored) });
        }
        Ok(Draft {
            tensors,
            layout: Box::new(Plain(places)),
            hook: Box::new(move |model, traced| {
                for (Scaled { layer, before, .. }, factors) in layers.into_iter().zip(traced) {
                    let adapter = Ia3Adapter { factors: factors.clone(), before };
                    linear_named(model, &layer).adapter = Some(Arc::new(adapter));
                }
                Ok(())
            }),
        })
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        let Self { target_modules, feedforward_modules } = self.as_peft_allows(model);
        crate::file::map(json!({
            "exclude_modules": null,
            "fan_in_fan_out": false,
            "feedforward_modules": feedforward_modules,
            "init_ia3_weights": true,
            "modules_to_save": null,
            "peft_type": "IA3",
            "target_modules": target_modules,
        }))
    }
}
