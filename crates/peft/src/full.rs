use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tallow_t5::{T5, Weight};

use crate::Result;
use crate::file::Plain;
use crate::kind::{Draft, Kind, Start, Trained};

/// Full fine-tuning has no settings of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullOptions {}

impl Kind for FullOptions {
    fn problems(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn describe(&self) -> String {
        "every weight".to_owned()
    }

    fn draft(&self, model: &T5, _fresh: bool) -> Result<Draft> {
        let trained = |weight: &mut Weight| trained(weight.name(), weight);
        let tensors: Vec<Trained> = model.clone().weights_mut().into_iter().map(trained).collect();
        Ok(Draft {
            layout: Box::new(Plain::same(&tensors)),
            tensors,
            hook: Box::new(|model, traced| {
                model
                    .weights_mut()
                    .into_iter()
                    .zip(traced)
                    .for_each(|(weight, traced)| weight.replace(traced.clone()));
                Ok(())
            }),
        })
    }

    fn has_adapter(&self) -> bool {
        false
    }

    fn starts_from_weights(&self) -> bool {
        true
    }

    fn config(&self, _model: &T5) -> Map<String, Value> {
        Map::new()
    }
}

/// A weight that is trained from where it is.
pub(crate) fn trained(name: impl Into<String>, weight: &Weight) -> Trained {
    let value = weight.value.value();
    Trained::new(name, value.dims(), Start::Values(value.clone()))
}
