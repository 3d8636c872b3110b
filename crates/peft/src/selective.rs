use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Tensor;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tallow_ops::{Kernels, Tape, Traced, add_vector, linear};
use tallow_t5::{Adapter, AroundProduct, Stream, T5, Weight};

use crate::file::{ConfigFile, Form, Place, Plain, map, prefixed};
use crate::kind::{Draft, Kind, Start, Trained, linear_named, weight_named};
use crate::{Error, Result, TargetModules};

/// Settings of selective fine-tuning: parameters of the base that are trained as they are, and biases, which T5 lacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectiveOptions {
    /// Weights that are trained: regular expressions for a part of their names, `layer_norm`, `relative_attention_bias`,
    /// `shared`, `decoder\.block\.7`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<String>,
    /// All weights of the last so many blocks of encoder and decoder.
    #[serde(skip_serializing_if = "is_none")]
    pub last_blocks: usize,
    /// Linear layers that a trained bias is added to. BitFit, Zaken et al. 2022.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biases: Option<TargetModules>,
}

fn is_none(blocks: &usize) -> bool {
    *blocks == 0
}

/// A layer's output and a bias.
#[derive(Clone)]
struct Bias(Traced);

impl Adapter for Bias {
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced, _at: &Stream) -> tallow_t5::Result<Traced> {
        Ok(add_vector(tape, &linear(tape, x, weight)?, &self.0)?)
    }

    fn merge(&self, _weight: &Tensor) -> tallow_t5::Result<Option<Tensor>> {
        Ok(None)
    }

    fn around_product(&self, _weight: &Tensor) -> tallow_t5::Result<Option<Arc<dyn AroundProduct>>> {
        Ok(Some(Arc::new(self.clone())))
    }
}

impl AroundProduct for Bias {
    fn after(&self, kernels: &dyn Kernels, _x: &Tensor, y: &Tensor) -> tallow_t5::Result<()> {
        Ok(y.slice_set(&kernels.add_columns(y, self.0.value())?, 0, 0)?)
    }
}

/// The kind that peft has for norms alone, and our own for all else.
const NORMS: &str = "LN_TUNING";
const SELECTIVE: &str = "TALLOW_SELECTIVE";

impl SelectiveOptions {
    /// Reads peft's layer-norm tuning.
    pub(crate) fn read_norms(config: &ConfigFile) -> Result<Self> {
        config.refuse(&["exclude_modules", "modules_to_save"])?;
        let escaped = |name: &String| format!(r"(^|\.){}\.weight$", regex::escape(name));
        let weights = match config.required_targets()? {
            TargetModules::Suffixes(names) => names.iter().map(escaped).collect(),
            TargetModules::Pattern(pattern) => vec![format!(r"^(?:{pattern})\.weight$")],
        };
        config.check(Self { weights, ..Self::default() })
    }

    /// Reads what [`Kind::config`] writes for all else.
    pub(crate) fn read(config: &ConfigFile) -> Result<Self> {
        config.check(Self {
            weights: config.parsed("weights", "a list of patterns")?.unwrap_or_default(),
            last_blocks: config.parsed("last_blocks", "a whole number")?.unwrap_or_default(),
            biases: config.targets("biases")?,
        })
    }

    /// The names of the weights that are trained.
    fn names(&self, model: &T5) -> Result<Vec<String>> {
        let patterns = self.weights.iter().map(|pattern| {
            let fail = |source| Error::Pattern { pattern: pattern.clone(), source: Box::new(source) };
            Regex::new(pattern).map_err(fail)
        });
        let patterns = patterns.collect::<Result<Vec<Regex>>>()?;
        let (encoder, decoder) = (model.config.num_layers, model.config.num_decoder_layers);
        let (asked, blocks) = (self.last_blocks, encoder.max(decoder));
        if asked > blocks {
            return Err(Error::Blocks { asked, blocks });
        }
        let last: BTreeSet<String> = [("encoder", encoder), ("decoder", decoder)]
            .into_iter()
            .flat_map(|(stack, blocks)| {
                let first = blocks.saturating_sub(self.last_blocks);
                (first..blocks).map(move |block| format!("{stack}.block.{block}."))
            })
            .collect();
        // The table of all blocks lies in block 0.
        let in_last = |name: &str| {
            last.iter().any(|block| name.starts_with(block.as_str()))
                && !name.contains("relative_attention_bias")
        };
        let mut matched = vec![false; patterns.len()];
        let mut names = Vec::new();
        for weight in model.clone().weights_mut() {
            let name = weight.name();
            let mut wanted = in_last(name);
            for (pattern, matched) in patterns.iter().zip(&mut matched) {
                if pattern.is_match(name) {
                    (wanted, *matched) = (true, true);
                }
            }
            if wanted {
                names.push(name.to_owned());
            }
        }
        match matched.iter().position(|matched| !matched) {
            Some(i) => Err(Error::NoWeight { pattern: self.weights[i].clone() }),
            None => Ok(names),
        }
    }

    fn are_norms(names: &[String]) -> bool {
        !names.is_empty() && names.iter().all(|name| name.ends_with("layer_norm.weight"))
    }

    /// Whether peft has a kind for it.
    fn is_pefts(&self, names: &[String]) -> bool {
        self.biases.is_none() && Self::are_norms(names)
    }

    /// The layers with a bias, and the size of each.
    fn biased(&self, model: &T5) -> Result<Vec<(String, usize)>> {
        let Some(modules) = &self.biases else { return Ok(Vec::new()) };
        let mut model = model.clone();
        let linears = model.linears_mut();
        let selected = modules.select(linears.iter().map(|linear| linear.name()));
        let selected = selected.map_err(|error| match error {
            Error::NoTarget { targets, known, .. } => Error::NoTarget { key: "biases", targets, known },
            error => error,
        })?;
        let biased = linears.iter().zip(selected).filter(|(_, selected)| *selected);
        Ok(biased.map(|(linear, _)| (linear.name().to_owned(), linear.shape().0)).collect())
    }
}

impl Kind for SelectiveOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.weights.is_empty() && self.last_blocks == 0 && self.biases.is_none() {
            problems.push(("weights", "give weights, last_blocks or biases: nothing is trained".to_owned()));
        }
        let wrong = self.weights.iter().find_map(|pattern| Some((pattern, Regex::new(pattern).err()?)));
        problems.extend(wrong.map(|(pattern, error)| {
            // The last line says what, those before it where.
            let error = error.to_string();
            let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            ("weights", format!("`{pattern}` is not a regular expression: {what}"))
        }));
        problems
            .extend(self.biases.as_ref().and_then(TargetModules::problem).map(|problem| ("biases", problem)));
        problems
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.weights.is_empty() {
            parts.push(self.weights.join(", "));
        }
        match self.last_blocks {
            0 => {}
            1 => parts.push("the last block of each stack".to_owned()),
            blocks => parts.push(format!("the last {blocks} blocks of each stack")),
        }
        parts.extend(self.biases.as_ref().map(|modules| format!("biases of {modules}")));
        format!("selected weights: {}", parts.join("; "))
    }

    fn draft(&self, model: &T5, _fresh: bool) -> Result<Draft> {
        let names = self.names(model)?;
        let is_pefts = self.is_pefts(&names);
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        let mut copy = model.clone();
        let weights: Vec<&mut Weight> = copy.weights_mut();
        for name in &names {
            let weight = weights.iter().find(|weight| weight.name() == name).expect("the name is a weight's");
            let stored = match (is_pefts, name.strip_suffix(".weight")) {
                (true, Some(module)) => prefixed(&format!("{module}.ln_tuning_layers.weight")),
                _ => name.clone(),
            };
            let trained = crate::full::trained(stored, weight);
            places.push(Place { name: trained.name.clone(), shape: trained.shape.clone(), form: Form::Same });
            tensors.push(trained);
        }
        let biased = self.biased(model)?;
        for (layer, size) in &biased {
            let name = format!("{layer}.bias");
            places.push(Place { name: name.clone(), shape: vec![*size], form: Form::Same });
            tensors.push(Trained::new(name, [*size], Start::Zeros));
        }
        Ok(Draft {
            tensors,
            layout: Box::new(Plain(places)),
            hook: Box::new(move |model, traced| {
                let (weights, biases) = traced.split_at(names.len());
                for (name, traced) in names.iter().zip(weights) {
                    weight_named(model, name).replace(traced.clone());
                }
                for ((layer, _), bias) in biased.iter().zip(biases) {
                    linear_named(model, layer).adapter = Some(Arc::new(Bias(bias.clone())));
                }
                Ok(())
            }),
        })
    }

    fn starts_from_weights(&self) -> bool {
        true
    }

    fn config(&self, model: &T5) -> Map<String, Value> {
        let names = self.names(model).unwrap_or_default();
        match self.is_pefts(&names) {
            true => {
                let modules: Vec<&str> =
                    names.iter().filter_map(|name| name.strip_suffix(".weight")).collect();
                map(json!({
                    "exclude_modules": null,
                    "modules_to_save": null,
                    "peft_type": NORMS,
                    "target_modules": modules,
                }))
            }
            false => map(json!({
                "biases": self.biases,
                "last_blocks": self.last_blocks,
                "peft_type": SELECTIVE,
                "weights": self.weights,
            })),
        }
    }
}
