//! Beam search, as transformers' `generate` has it.

use std::cmp::Reverse;

use candle_core::DType;
use tallow_ops::{Tape, log_sum_exp};

use super::{EarlyStopping, GenerationOptions, constraints};
use crate::cache::Cache;
use crate::{Result, T5};

/// A sequence, without the start token.
#[derive(Clone, Debug, PartialEq)]
struct Sequence {
    tokens: Vec<u32>,
    /// The sum of its tokens' log-probabilities; divided by a power of its length once it has ended.
    score: f32,
}

/// One token more for one of the sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    parent: usize,
    token: u32,
    score: f32,
}

/// The search of one row.
struct Beams<'a> {
    options: &'a GenerationOptions,
    start: u32,
    end: u32,
    /// Those that go on, best first, and the slot of the cache that holds each.
    running: Vec<(Sequence, usize)>,
    /// Those that have ended, best first.
    finished: Vec<Sequence>,
    /// The row's slots.
    slots: std::ops::Range<usize>,
    done: bool,
}

/// Continues the rows of a cache that has been started; the ids of the best sequence of each.
pub(super) fn search(
    model: &T5,
    tape: &Tape,
    mut cache: Cache,
    rows: usize,
    options: &GenerationOptions,
) -> Result<Vec<Vec<u32>>> {
    let mut rows: Vec<Beams> = (0..rows).map(|row| Beams::new(model, options, row)).collect();
    loop {
        let mut active: Vec<&mut Beams> = rows.iter_mut().filter(|row| !row.done).collect();
        if active.is_empty() {
            return Ok(rows.into_iter().map(Beams::best).collect());
        }
        let (slots, tokens): (Vec<usize>, Vec<u32>) = active.iter().flat_map(|row| row.last_tokens()).unzip();
        let logits = model.next(tape, &tokens, &slots, &mut cache)?;
        let mut logits = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?.into_iter();
        let mut copies = Vec::new();
        for row in &mut active {
            let own: Vec<Vec<f32>> = logits.by_ref().take(row.running.len()).collect();
            copies.extend(row.advance(own));
        }
        cache.copy(tape, &copies)?;
    }
}

impl<'a> Beams<'a> {
    fn new(model: &T5, options: &'a GenerationOptions, row: usize) -> Self {
        let (start, end) = (model.config.decoder_start_token_id, model.config.eos_token_id);
        let first = row * options.num_beams;
        let empty = Sequence { tokens: Vec::new(), score: 0.0 };
        Self {
            options,
            start,
            end,
            running: vec![(empty, first)],
            finished: Vec::new(),
            slots: first..first + options.num_beams,
            done: false,
        }
    }

    /// The slots in use, ascending, and the token that each is to continue.
    fn last_tokens(&self) -> Vec<(usize, u32)> {
        let last = |sequence: &Sequence| sequence.tokens.last().copied().unwrap_or(self.start);
        let mut tokens: Vec<(usize, u32)> =
            self.running.iter().map(|(sequence, slot)| (*slot, last(sequence))).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Adds a token to every sequence, from the logits of each slot in use, ascending; gives the slots to be copied.
    fn advance(&mut self, logits: Vec<Vec<f32>>) -> Vec<(usize, usize)> {
        let candidates = self.candidates(logits);
        let length = self.running.first().map_or(0, |(sequence, _)| sequence.tokens.len()) + 1;
        let last = length == self.options.max_new_tokens;
        let mut next = Vec::with_capacity(self.options.num_beams);
        for (rank, candidate) in candidates.into_iter().enumerate() {
            let ends = candidate.token == self.end;
            if !(ends || last) {
                if next.len() < self.options.num_beams {
                    next.push(candidate);
                }
            // The others are there only so that enough go on.
            } else if rank < self.options.num_beams {
                let mut tokens = self.running[candidate.parent].0.tokens.clone();
                if !ends {
                    tokens.push(candidate.token);
                }
                self.finish(Sequence { tokens, score: candidate.score / self.penalty(length) });
            }
        }
        let copies = self.follow(&next);
        self.done = self.running.is_empty() || !self.may_improve(length);
        if self.done { Vec::new() } else { copies }
    }

    /// Twice as many continuations as there are beams, best first: should all beams end, as many go on.
    fn candidates(&self, logits: Vec<Vec<f32>>) -> Vec<Candidate> {
        let most = 2 * self.options.num_beams;
        let mut by_slot: Vec<usize> = (0..self.running.len()).collect();
        by_slot.sort_unstable_by_key(|&parent| self.running[parent].1);
        let mut rows: Vec<(usize, Vec<f32>)> = by_slot.into_iter().zip(logits).collect();
        rows.sort_unstable_by_key(|(parent, _)| *parent);
        let mut best: Vec<Candidate> = Vec::with_capacity(most + 1);
        for (parent, mut values) in rows {
            let sequence = &self.running[parent].0;
            let sum = log_sum_exp(&values);
            values.iter_mut().for_each(|value| *value -= sum);
            constraints::apply(self.options, &mut values, self.start, &sequence.tokens, self.end);
            for (token, value) in values.into_iter().enumerate() {
                let score = sequence.score + value;
                let least = if best.len() < most { f32::NEG_INFINITY } else { best[most - 1].score };
                if score > least {
                    let place = best.partition_point(|other| other.score >= score);
                    best.insert(place, Candidate { parent, token: token as u32, score });
                    best.truncate(most);
                }
            }
        }
        best
    }

    /// What the score of a sequence of so many tokens, the end token among them, is divided by.
    fn penalty(&self, length: usize) -> f32 {
        (length as f64).powf(self.options.length_penalty) as f32
    }

    fn finish(&mut self, sequence: Sequence) {
        let place = self.finished.partition_point(|other| other.score >= sequence.score);
        self.finished.insert(place, sequence);
        self.finished.truncate(self.options.num_beams);
    }

    /// Goes on with `next`: the first that follows a sequence stays in its slot, and others take slots that are free.
    fn follow(&mut self, next: &[Candidate]) -> Vec<(usize, usize)> {
        let mut copies = Vec::new();
        let mut free: Vec<usize> = self
            .slots
            .clone()
            .filter(|slot| next.iter().all(|candidate| self.running[candidate.parent].1 != *slot))
            .collect();
        free.sort_unstable_by_key(|&slot| Reverse(slot));
        let mut kept = vec![false; self.running.len()];
        let mut running = Vec::with_capacity(next.len());
        for &Candidate { parent, token, score } in next {
            let (sequence, mut slot) = self.running[parent].clone();
            if std::mem::replace(&mut kept[parent], true) {
                let to = free.pop().expect("a row has a slot for each beam");
                copies.push((slot, to));
                slot = to;
            }
            let mut tokens = sequence.tokens;
            tokens.push(token);
            running.push((Sequence { tokens, score }, slot));
        }
        self.running = running;
        copies
    }

    /// Whether those that go on could still be better than those that have ended.
    fn may_improve(&self, length: usize) -> bool {
        let (Some((best, _)), Some(worst)) = (self.running.first(), self.finished.last()) else {
            return true;
        };
        if self.finished.len() < self.options.num_beams {
            return true;
        }
        let length = match self.options.early_stopping {
            EarlyStopping::Yes => return false,
            // A longer one would divide a negative sum by more.
            EarlyStopping::Never if self.options.length_penalty > 0.0 => self.options.max_new_tokens,
            EarlyStopping::No | EarlyStopping::Never => length,
        };
        best.score / self.penalty(length) > worst.score
    }

    fn best(self) -> Vec<u32> {
        let running = self.running.into_iter().map(|(sequence, _)| sequence);
        self.finished.into_iter().chain(running).next().map(|best| best.tokens).unwrap_or_default()
    }
}
