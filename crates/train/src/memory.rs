//! What training and generating take of memory, foreseen and measured.

use candle_core::DType;
use tallow_ops::{HOST_LOGITS, SCRATCH_VALUES};
use tallow_peft::{Method, Sketch, sketch};
use tallow_t5::{Generation, GenerationOptions, T5, TrainedHead};

use crate::engine::{batch_size, shards};
use crate::{Engine, Result};

/// What each thread of the CPU takes beside tensors: packed operands, blocks of scores, and gaps between them.
const WORKSPACE: f64 = 8e6;

/// What training takes of memory, in bytes, beside what the process has already.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainingMemory {
    /// The number of values that are trained.
    pub trainable: usize,
    /// Weights that are read where the checkpoint lies.
    pub weights: f64,
    /// Trained values, their moments and gradients.
    pub trained: f64,
    /// What a step keeps for backward, and the largest part that comes and goes, at the heaviest batch.
    pub activations: f64,
}

impl TrainingMemory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.trained + self.activations
    }
}

/// What generating takes of memory, in bytes, beside what the process has already.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GenerationMemory {
    /// Weights that are read where the checkpoint lies.
    pub weights: f64,
    /// The largest part of the encoder, over the sources of all threads.
    pub encoding: f64,
    /// Keys and values of as many.
    pub cache: f64,
    /// The most at a time beside the weights.
    pub peak: f64,
}

impl GenerationMemory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.peak
    }
}

impl Engine {
    /// Whether what computes in `dtype` is the CPU, here or of another machine: bf16 is for GPUs.
    fn is_host(&self, dtype: DType) -> bool {
        self.kernels().device().is_cpu() && dtype == DType::F32
    }

    /// What generating for sources of these lengths takes, `batch` of them at a time on each thread, in `dtype`.
    pub fn generation_memory(
        &self,
        model: &T5,
        sources: &[usize],
        options: &GenerationOptions,
        batch: usize,
        dtype: DType,
    ) -> GenerationMemory {
        let mut sources = sources.to_vec();
        sources.sort_unstable_by(|a, b| b.cmp(a));
        // The longest come first, a batch on each thread.
        let threads = if self.is_host(dtype) { self.threads() } else { 1 };
        let size = batch_size(sources.len(), batch, threads);
        let batches = sources.chunks(size).take(threads);
        let found: Vec<Generation> = batches
            .map(|rows| model.generation(rows.iter().copied(), options, dtype.size_in_bytes()))
            .collect();
        let sum = |part: fn(&Generation) -> f64| found.iter().map(part).sum::<f64>();
        let scores = match self.is_host(dtype) {
            true => 0.0,
            false => 2.0 * sum(|found| found.scores).min((SCRATCH_VALUES * dtype.size_in_bytes()) as f64),
        };
        GenerationMemory {
            weights: (model.parameters() * dtype.size_in_bytes()) as f64,
            encoding: sum(|found| found.encoding),
            cache: sum(|found| found.cache),
            peak: sum(Generation::peak) + scores + self.workspace(dtype),
        }
    }

    fn workspace(&self, dtype: DType) -> f64 {
        if self.is_host(dtype) { WORKSPACE * self.threads() as f64 } else { 0.0 }
    }

    /// What training a model by `method`, which need not be hooked to it yet, takes over batches of rows of these (source,
    /// target) lengths, in `dtype`.
    ///
    /// # Errors
    /// If the method's targets match nothing.
    pub fn training_memory(
        &self,
        model: &T5,
        method: &Method,
        batches: impl IntoIterator<Item = Vec<(usize, usize)>>,
        dtype: DType,
    ) -> Result<TrainingMemory> {
        let Sketch { mut model, trainable, buffer_len: trained, .. } = sketch(model.clone(), method)?;
        let (mut heaviest, mut tokens) = ((0.0f64, 1), 0);
        for rows in batches {
            tokens += rows.iter().map(|(source, target)| source + target).sum::<usize>();
            let shards = if self.is_host(dtype) { shards(self.threads(), rows.len(), trained) } else { 1 };
            let bytes = self.step_bytes(&model, rows, shards, dtype);
            heaviest = if bytes > heaviest.0 { (bytes, shards) } else { heaviest };
        }
        let (activations, shards) = heaviest;
        let frozen = model.weights_mut().into_iter().filter(|weight| !weight.value.is_traced());
        let mut weights = frozen.map(|weight| weight.value.value().elem_count()).sum::<usize>();
        // A table that is no head as well is read where tokens look it up, and where it is not read it takes nothing.
        if self.is_host(dtype) && !model.is_tied() && !model.trains_embedding() {
            weights -= model.config.vocab_size.saturating_sub(tokens) * model.config.d_model;
        }
        // What does not compute in f32 has a copy of it that does.
        let copy = if dtype == DType::F32 { 0 } else { trained * dtype.size_in_bytes() };
        Ok(TrainingMemory {
            trainable,
            weights: (weights * dtype.size_in_bytes()) as f64,
            trained: (4 * trained * (3 + shards) + copy) as f64,
            activations,
        })
    }

    /// About what the activations of a step take, its rows dealt to so many shards; what is trained has to be traced.
    pub(crate) fn step_bytes(
        &self,
        model: &T5,
        rows: Vec<(usize, usize)>,
        shards: usize,
        dtype: DType,
    ) -> f64 {
        let width = dtype.size_in_bytes();
        let found = model.activations(rows, width);
        let head = model.trained_head();
        let (scores, logits) = match self.is_host(dtype) {
            // Scores live by the block there, and logits too, but where the head is trained: then they become their slopes
            // in place.
            true if head.is_some() => (0.0, found.logits.min((4 * HOST_LOGITS * shards) as f64)),
            true => (0.0, 0.0),
            false => {
                let (width, chunk) = (width as f64, SCRATCH_VALUES as f64);
                (2.0 * found.scores.min(chunk * width), (found.logits / 4.0).min(chunk) * (4.0 + width))
            }
        };
        // The gradient of the head comes while the logits are there; a head that is adapted is a copy, too.
        let head = head.map_or(0, |head| match head {
            TrainedHead::Whole => 4 * model.config.vocab_size * model.config.d_model,
            TrainedHead::Widened(columns) => {
                (4 + width) * model.config.vocab_size * (model.config.d_model + columns)
            }
        });
        let behind = scores.max(logits + (head * shards) as f64).max(found.passing);
        self.workspace(dtype) + (found.kept + behind).max(found.before)
    }

    /// The most memory that was taken at a time so far, in bytes, where the system tells: of the device, or of the
    /// process.
    pub fn peak_memory(&self) -> Option<usize> {
        match self.kernels().device().is_cpu() {
            true => of_process("VmHWM"),
            false => self.kernels().memory().map(|memory| memory.peak),
        }
    }
}

/// What the process has in memory now, in bytes, where the system tells.
pub fn resident_memory() -> Option<usize> {
    of_process("VmRSS")
}

fn of_process(key: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}
