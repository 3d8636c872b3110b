use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Tape, Traced, cross_entropy, linear, prepend_rows, scale};

use crate::stack::Stack;
use crate::weights::Weights;
use crate::{
    Batch, Checkpointing, Config, EmbeddingPlace, Error, HeadAdapter, Linear, OutputPlace, PrefixPlace,
    Result, Stream, Training, Weight,
};

/// The encoder's output.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Hidden states (n, d_model).
    pub states: Traced,
    /// Their rows; virtual tokens belong to them.
    pub at: Stream,
}

/// What is trained of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainedHead {
    /// All of it.
    Whole,
    /// So many columns beside its own, which are given a gradient with them.
    Widened(usize),
}

/// A T5 or FLAN-T5. Raffel et al. 2020; Chung et al. 2022.
///
/// Cloning shares the weights.
#[derive(Clone)]
pub struct T5 {
    /// The geometry.
    pub config: Config,
    /// How it is trained.
    pub training: Training,
    /// Virtual tokens (N, d_model) before every source; none unless a method puts them there. Lester et al. 2021.
    pub prompt: Option<Traced>,
    /// What a method has hooked to the head.
    pub head_adapter: Option<Arc<dyn HeadAdapter>>,
    pub(crate) shared: Weight,
    /// None where the embedding is the head.
    pub(crate) lm_head: Option<Weight>,
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
            prompt: None,
            head_adapter: None,
            shared,
            lm_head: own_head.then(|| weights.weight("lm_head.weight", &table)).transpose()?,
            encoder: Stack::load(&weights, &config, "encoder")?,
            decoder: Stack::load(&weights, &config, "decoder")?,
            config,
        };
        weights.finish(folder)?;
        Ok(model)
    }

    /// The encoder's hidden states: ids (n), u32, the rows of `at` -> (n, d_model), virtual tokens among them.
    ///
    /// # Errors
    /// If an id is past the vocabulary, or an operation fails.
    pub fn encode(&self, tape: &Tape, ids: &Tensor, at: impl Into<Stream>) -> Result<Encoded> {
        let (x, at) = (self.encoder.embed(tape, &self.shared.value, ids)?, at.into());
        let (x, at) = match &self.prompt {
            None => (x, at),
            Some(prompt) => {
                let x = prepend_rows(tape, prompt, &x, &at.segments)?;
                (x, at.longer_by(self.prompt_tokens()))
            }
        };
        Ok(Encoded { states: self.encoder.forward(tape, &x, &at, None, self.training)?, at })
    }

    /// The decoder's hidden states, each target shown the row of `encoded` that is its own: (m, d_model),
    /// scaled for the head where the config says so.
    ///
    /// # Errors
    /// If an id is past the vocabulary, or an operation fails.
    pub fn decode(&self, tape: &Tape, batch: &Batch, encoded: &Encoded) -> Result<Traced> {
        let x = self.decoder.embed(tape, &self.shared.value, &batch.decoder_input)?;
        let at = Stream::from(&batch.target_segments);
        let hidden = self.decoder.forward(tape, &x, &at, Some(encoded), self.training)?;
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
        match &self.head_adapter {
            None => Ok(cross_entropy(tape, &hidden, self.head(), &batch.labels, smoothing)?),
            Some(adapter) => {
                let [hidden, head] = adapter.widened(tape, &hidden, self.head())?;
                Ok(cross_entropy(tape, &hidden, &head, &batch.labels, smoothing)?)
            }
        }
    }

    /// The logits of hidden states (m, d_model) -> (m, V); for inference.
    ///
    /// # Errors
    /// If the product fails.
    pub fn logits(&self, tape: &Tape, hidden: &Traced) -> Result<Tensor> {
        let logits = match &self.head_adapter {
            None => linear(tape, hidden, self.head())?,
            Some(adapter) => adapter.logits(tape, hidden, self.head())?,
        };
        Ok(logits.value().clone())
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

    /// What is trained of the head, if anything is.
    pub fn trained_head(&self) -> Option<TrainedHead> {
        match &self.head_adapter {
            Some(adapter) => Some(TrainedHead::Widened(adapter.columns())),
            None => self.head().is_traced().then_some(TrainedHead::Whole),
        }
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

    /// The virtual tokens before every source.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt.as_ref().map_or(0, |prompt| prompt.value().dims()[0])
    }

    /// The embedding's table (V, d_model).
    pub fn embedding(&self) -> &Tensor {
        self.shared.value.value()
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

    /// The places behind the sublayers, encoder first.
    pub fn outputs_mut(&mut self) -> Vec<OutputPlace<'_>> {
        let mut places = self.encoder.outputs_mut();
        places.extend(self.decoder.outputs_mut());
        places
    }

    /// The places before the keys and values of the attentions, encoder first. In one stack, self-attention has prefixes
    /// of one length in every block, or none.
    pub fn prefixes_mut(&mut self) -> Vec<PrefixPlace<'_>> {
        let mut places = self.encoder.prefixes_mut();
        places.extend(self.decoder.prefixes_mut());
        places
    }

    /// The places at the embeddings of the encoder and the decoder.
    pub fn embeddings_mut(&mut self) -> [EmbeddingPlace<'_>; 2] {
        [
            EmbeddingPlace { name: "encoder.embed_tokens", adapter: &mut self.encoder.embedding },
            EmbeddingPlace { name: "decoder.embed_tokens", adapter: &mut self.decoder.embedding },
        ]
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

    /// Gives the model a head of its own where the embedding is its head.
    pub fn untie(&mut self) {
        if self.lm_head.is_none() {
            self.lm_head = Some(Weight::new("lm_head.weight", self.shared.value.value().clone(), None));
        }
    }
}
