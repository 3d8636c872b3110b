use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Segments, Tape, Traced, cross_entropy, linear, scale};

use crate::stack::Stack;
use crate::weights::Weights;
use crate::{Batch, Checkpointing, Config, Error, Linear, Result, Training, Weight};

/// A T5 or FLAN-T5. Raffel et al. 2020; Chung et al. 2022.
///
/// Cloning shares the weights.
#[derive(Clone)]
pub struct T5 {
    /// The geometry.
    pub config: Config,
    /// How it is trained.
    pub training: Training,
    shared: Weight,
    /// None where the embedding is the head.
    lm_head: Option<Weight>,
    pub(crate) encoder: Stack,
    pub(crate) decoder: Stack,
}

impl T5 {
    /// Loads a Hugging Face model folder, config.json, and model.safetensors or its shards, to compute in
    /// `dtype`: f32 or bf16.
    ///
    /// # Errors
    /// If a file is missing or broken, or tensors do not fit the config: all of them are listed.
    pub fn load(folder: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let config = Config::from_file(&folder.join("config.json"))?;
        let weights = Weights::open(folder, device, dtype)?;
        let table = [config.vocab_size, config.d_model];
        let alias = "encoder.embed_tokens.weight";
        let shared = match weights.contains("shared.weight") || !weights.contains(alias) {
            true => weights.weight("shared.weight", &table)?,
            false => weights.weight(alias, &table)?.renamed("shared.weight"),
        };
        let own_head = weights.contains("lm_head.weight") || !config.tie_word_embeddings;
        let model = Self {
            training: Training { dropout: config.dropout_rate, checkpointing: Checkpointing::None },
            shared,
            lm_head: own_head.then(|| weights.weight("lm_head.weight", &table)).transpose()?,
            encoder: Stack::load(&weights, &config, "encoder")?,
            decoder: Stack::load(&weights, &config, "decoder")?,
            config,
        };
        weights.finish(folder)?;
        Ok(model)
    }

    /// The encoder's hidden states: ids (n), u32 -> (n, d_model).
    ///
    /// # Errors
    /// If an id is past the vocabulary, or an operation fails.
    pub fn encode(&self, tape: &Tape, ids: &Tensor, segments: &Arc<Segments>) -> Result<Traced> {
        self.encoder.forward(tape, &self.shared.value, ids, segments, None, self.training)
    }

    /// The decoder's hidden states, each target shown the row of `encoded` that is its own: (m, d_model),
    /// scaled for the head where the config says so.
    ///
    /// # Errors
    /// If an id is past the vocabulary, or an operation fails.
    pub fn decode(&self, tape: &Tape, batch: &Batch, encoded: &Traced) -> Result<Traced> {
        let context = Some((encoded, &batch.source_segments));
        let (ids, segments) = (&batch.decoder_input, &batch.target_segments);
        let hidden = self.decoder.forward(tape, &self.shared.value, ids, segments, context, self.training)?;
        self.scaled(tape, hidden)
    }

    pub(crate) fn scaled(&self, tape: &Tape, hidden: Traced) -> Result<Traced> {
        match self.config.scale_decoder_outputs {
            true => Ok(scale(tape, &hidden, (self.config.d_model as f64).powf(-0.5))?),
            false => Ok(hidden),
        }
    }

    /// The sum of the batch's losses, a scalar; see [`cross_entropy`] for the label smoothing.
    ///
    /// # Errors
    /// If an id is past the vocabulary, or an operation fails.
    pub fn loss(&self, tape: &Tape, batch: &Batch, smoothing: f64) -> Result<Traced> {
        let encoded = self.encode(tape, &batch.source, &batch.source_segments)?;
        let hidden = self.decode(tape, batch, &encoded)?;
        drop(encoded);
        Ok(cross_entropy(tape, &hidden, self.head(), &batch.labels, smoothing)?)
    }

    /// The logits of hidden states (m, d_model) -> (m, V); for inference.
    ///
    /// # Errors
    /// If the product fails.
    pub fn logits(&self, tape: &Tape, hidden: &Traced) -> Result<Tensor> {
        Ok(linear(tape, hidden, self.head())?.value().clone())
    }

    fn head(&self) -> &Traced {
        &self.lm_head.as_ref().unwrap_or(&self.shared).value
    }

    /// The number of its own parameters.
    pub fn parameters(&self) -> usize {
        self.clone().weights_mut().into_iter().map(|weight| weight.value.value().elem_count()).sum()
    }

    /// Whether the embedding is trained, as it is where all weights are.
    pub fn trains_embedding(&self) -> bool {
        self.shared.value.is_traced()
    }

    /// Where the weights lie.
    pub fn device(&self) -> &Device {
        self.shared.value.value().device()
    }

    /// The type that the model computes in.
    pub fn dtype(&self) -> DType {
        self.shared.value.value().dtype()
    }

    pub(crate) fn table(&self) -> &Traced {
        &self.shared.value
    }

    /// Whether the embedding is also the head.
    pub fn is_tied(&self) -> bool {
        self.lm_head.is_none()
    }

    /// Refuses an id that has no row in the embedding.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_ids<'a>(&self, ids: impl IntoIterator<Item = &'a u32>) -> Result<()> {
        let vocabulary = self.config.vocab_size;
        match ids.into_iter().find(|&&id| id as usize >= vocabulary) {
            Some(&id) => Err(Error::Vocabulary { id, vocabulary }),
            None => Ok(()),
        }
    }

    /// Every linear layer of the blocks, encoder first: the places for adapters. The head is not among them.
    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut linears = self.encoder.linears_mut();
        linears.extend(self.decoder.linears_mut());
        linears
    }

    /// Every named weight, the linear layers' included.
    pub fn weights_mut(&mut self) -> Vec<&mut Weight> {
        let mut weights = vec![&mut self.shared];
        weights.extend(&mut self.lm_head);
        for stack in [&mut self.encoder, &mut self.decoder] {
            weights.extend(stack.weights_mut());
        }
        weights
    }

    /// The checkpoint's tensors by name, with what adapters change merged into them.
    ///
    /// # Errors
    /// If an adapter cannot be merged.
    pub fn merged(&self) -> Result<Vec<(String, Tensor)>> {
        let mut model = self.clone();
        for linear in model.linears_mut() {
            if let Some(adapter) = linear.adapter.take() {
                let merged = adapter.merge(linear.weight.value.value())?;
                let merged = merged.ok_or_else(|| Error::NotMergeable { name: linear.name().to_owned() })?;
                linear.weight.value = Traced::constant(merged);
            }
        }
        let weights = model.weights_mut().into_iter();
        Ok(weights.map(|weight| (weight.name().to_owned(), weight.value.value().clone())).collect())
    }
}
