use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use tallow_data::{BatchOptions, BatchSize, Batches, Example, Sample, Samples, Tokenizer};
use tallow_metrics::{References, Rouge, RougeCorpus, RougeType, Score};
use tallow_t5::{GenerationOptions, T5};

use crate::{Engine, Error, Result};

/// Tokens of a batch where nothing is kept for backward.
const LOSS_TOKENS: usize = 4096;

/// The mean loss of a target token over the first `count` rows; `done` hears how many rows each batch had.
///
/// # Errors
/// If there are no rows, or the model fails.
pub fn mean_loss(
    engine: &Engine,
    model: &T5,
    rows: &Samples,
    count: usize,
    done: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<f64> {
    let lengths = (0..count).map(|row| rows.lengths(row)).collect();
    let batches = Batches::new(lengths, BatchOptions::evaluation(BatchSize::Tokens(LOSS_TOKENS)), 0)?;
    let (mut losses, mut tokens) = (Vec::new(), 0);
    for batch in batches.epoch(0) {
        let samples = rows.read(&batch)?;
        let samples: Vec<&Sample> = samples.iter().collect();
        losses.extend(loss_in_parts(engine, model, &samples)?);
        tokens += samples.iter().map(|row| row.target.len()).sum::<usize>();
        done(batch.len())?;
    }
    Ok(engine.read(&losses)?.into_iter().sum::<f64>() / tokens as f64)
}

/// The loss of rows, by halves where the device has no room for all of them: it may be that training fits in less.
fn loss_in_parts(engine: &Engine, model: &T5, rows: &[&Sample]) -> Result<Vec<Tensor>> {
    match engine.loss(model, rows) {
        Err(Error::OutOfMemory { .. }) if rows.len() > 1 => {
            engine.kernels().trim();
            let (first, second) = rows.split_at(rows.len() / 2);
            let mut losses = loss_in_parts(engine, model, first)?;
            losses.extend(loss_in_parts(engine, model, second)?);
            Ok(losses)
        }
        found => found,
    }
}

/// One row's generated text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Where the row stands.
    pub row: String,
    /// The prompt.
    pub prompt: String,
    /// What the model wrote.
    pub prediction: String,
    /// What it is measured against.
    pub references: Vec<String>,
}

/// Generates an answer to each example; `done` hears how many rows each batch had. The second value is how many
/// prompts were cut to `max_source_tokens`.
///
/// # Errors
/// If a text cannot be tokenised, or the model fails.
pub fn answers(
    engine: &Engine,
    model: &T5,
    tokenizer: &Tokenizer,
    examples: &[Example],
    max_source_tokens: usize,
    (options, batch): (&GenerationOptions, usize),
    done: &(dyn Fn(usize) + Sync),
) -> Result<(Vec<Answer>, usize)> {
    let prompts: Vec<&str> = examples.iter().map(|example| example.prompt.as_str()).collect();
    let sources = tokenizer.encode_batch(&prompts, max_source_tokens)?;
    let cut = sources.iter().filter(|source| source.cut > 0).count();
    let sources: Vec<&[u32]> = sources.iter().map(|source| source.ids.as_slice()).collect();
    let found = engine.generate(model, &sources, options, batch, done)?;
    let answers = examples.iter().zip(found).map(|(example, ids)| {
        Ok(Answer {
            row: example.origin.to_string(),
            prompt: example.prompt.clone(),
            prediction: tokenizer.decode(&ids)?,
            references: example.references.clone(),
        })
    });
    Ok((answers.collect::<Result<_>>()?, cut))
}

/// How answers are scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scores {
    /// Which figures: `rouge1`, `rouge2`, `rougeL`, `rougeLsum`, ...
    pub rouge: Vec<RougeType>,
    /// Whether words are stemmed first.
    pub stemmer: bool,
    /// Of several references, the best or the mean.
    pub references: References,
}

impl Default for Scores {
    fn default() -> Self {
        let rouge = vec![RougeType::ROUGE_1, RougeType::ROUGE_2, RougeType::L, RougeType::Lsum];
        Self { rouge, stemmer: true, references: References::Best }
    }
}

/// The figures of one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The number of rows.
    pub rows: usize,
    /// The mean of each score over the rows.
    pub rouge: BTreeMap<RougeType, Score>,
    /// Whether words were stemmed first.
    pub stemmer: bool,
    /// How several references were combined.
    pub references: References,
}

/// Scores answers against their references.
///
/// # Errors
/// If a row has no reference.
pub fn score(answers: &[Answer], scores: &Scores) -> Result<Evaluation> {
    let rouge = Rouge { types: scores.rouge.clone(), stemmer: scores.stemmer };
    let mut corpus = RougeCorpus::new(rouge, scores.references);
    for answer in answers {
        corpus.add(&answer.references, &answer.prediction)?;
    }
    Ok(Evaluation {
        rows: answers.len(),
        rouge: corpus.mean().unwrap_or_default().into_iter().collect(),
        stemmer: scores.stemmer,
        references: scores.references,
    })
}
