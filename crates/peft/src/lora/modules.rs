//! Modules that are trained as a whole, and kept in the adapter: peft's `modules_to_save`.

use tallow_ops::Traced;
use tallow_t5::{T5, Weight};

use super::next;
use crate::kind::weight_named;
use crate::{Error, Result};

/// The weights of modules that are trained as a whole, by their names in the model.
pub(super) fn saved(modules: &[String], model: &T5) -> Result<Vec<(String, Weight)>> {
    let mut model = model.clone();
    if modules.iter().any(|module| module == "lm_head") {
        model.untie();
    }
    let mut found = Vec::new();
    let mut unknown: Vec<&String> = modules.iter().collect();
    for weight in model.weights_mut() {
        let module = weight.name().strip_suffix(".weight").unwrap_or(weight.name());
        // As peft: the module's name, or what it ends in.
        let is_named = |named: &&String| module.ends_with(named.as_str());
        if modules.iter().any(|named| is_named(&named)) {
            unknown.retain(|named| !is_named(named));
            found.push((weight.name().to_owned(), weight.clone()));
        }
    }
    match unknown.first() {
        Some(module) => Err(Error::NoModule { module: (*module).clone() }),
        None => Ok(found),
    }
}

/// Puts trained values in the places of weights.
pub(super) fn train(model: &mut T5, names: &[String], traced: &mut impl Iterator<Item = Traced>) {
    if names.iter().any(|name| name == "lm_head.weight") {
        model.untie();
    }
    for name in names {
        weight_named(model, name).replace(next(traced));
    }
}
