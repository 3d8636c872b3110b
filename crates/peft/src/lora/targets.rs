//! The layers that LoRA adapts.

use tallow_t5::T5;

use super::LoraOptions;
use crate::file::prefixed;
use crate::target::number_in;
use crate::{Error, Result};

/// A layer that is adapted.
pub(crate) struct Target {
    /// `encoder.block.0.layer.0.SelfAttention.q`, `lm_head`, `encoder.embed_tokens`.
    pub name: String,
    pub output: usize,
    pub input: usize,
    pub rank: usize,
    pub scale: f64,
    pub place: At,
}

/// The kind of place that a layer is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum At {
    Linear,
    Head,
    Embedding,
}

/// The names of a layer's tensors in peft's files, A before B.
pub(crate) fn names(layer: &str) -> [String; 2] {
    match layer.ends_with("embed_tokens") {
        true => ["A", "B"].map(|matrix| prefixed(&format!("{layer}.lora_embedding_{matrix}"))),
        false => ["A", "B"].map(|matrix| prefixed(&format!("{layer}.lora_{matrix}.weight"))),
    }
}

/// The layer that a tensor of peft's files is of.
pub(crate) fn layer(name: &str) -> Option<String> {
    let rest = name.strip_prefix("base_model.model.")?;
    let endings = [".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B"];
    endings.iter().find_map(|ending| rest.strip_suffix(ending)).map(str::to_owned)
}

impl LoraOptions {
    /// The layers that are adapted, in the model's order.
    pub(crate) fn targets(&self, model: &T5) -> Result<Vec<Target>> {
        let mut model = model.clone();
        let (vocabulary, d) = (model.config.vocab_size, model.config.d_model);
        let embeddings = model.embeddings_mut().map(|place| place.name);
        let linears = model.linears_mut();
        let linears = linears.iter().map(|linear| (linear.name().to_owned(), linear.shape(), At::Linear));
        let head = ("lm_head".to_owned(), (vocabulary, d), At::Head);
        let tables = embeddings.map(|name| (name.to_owned(), (d, vocabulary), At::Embedding));
        let places: Vec<(String, (usize, usize), At)> = linears.chain([head]).chain(tables).collect();
        let names = || places.iter().map(|(name, ..)| name.as_str());
        let excluded = match &self.exclude_modules {
            Some(modules) => modules.matching(names())?,
            None => vec![false; places.len()],
        };
        let selected = self.target_modules.select(names())?.into_iter().zip(excluded);
        let in_layers = |name: &str| {
            self.layers.is_empty()
                || number_in(name, &self.layers_pattern).is_some_and(|number| self.layers.contains(&number))
        };
        // What is trained as a whole is not adapted, as in peft.
        let is_saved = |name: &str| {
            self.modules_to_save.iter().any(|module| format!(".{name}.").contains(&format!(".{module}.")))
        };
        let mut targets = Vec::new();
        for ((name, (output, input), place), (selected, excluded)) in places.into_iter().zip(selected) {
            if selected && !excluded && in_layers(&name) && !is_saved(&name) {
                let (rank, scale) = self.rank_and_scale(&name)?;
                targets.push(Target { name, output, input, rank, scale, place });
            }
        }
        match targets.is_empty() {
            true => Err(Error::NothingLeft { targets: self.target_modules.to_string() }),
            false => Ok(targets),
        }
    }
}
