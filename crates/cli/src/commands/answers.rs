//! Which adapter answers which prompt, and the answers.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tallow_hub::Wanted;
use tallow_peft::{AdapterFile, Mix, attach};
use tallow_t5::{GenerationOptions, T5};

use crate::compute::Compute;
use crate::hub;
use crate::progress;

/// A prompt that is to be answered.
#[derive(Clone, Copy)]
pub struct Question {
    /// The prompt's number.
    pub prompt: usize,
    /// The number of the adapter that answers; none is the model without one.
    pub adapter: Option<usize>,
}

/// An adapter as it answers.
enum Answering {
    /// By this number in the mix.
    Mixed(usize),
    /// In batches of its own, since it changes what all rows of a batch share.
    Apart(Box<T5>),
}

/// Several adapters on one base.
pub struct Panel {
    base: T5,
    mix: Mix,
    adapters: Vec<Answering>,
}

impl Panel {
    /// Loads adapters onto their base.
    pub fn load(base: T5, folders: &[&Path]) -> Result<Self> {
        let mut panel = Self { mix: Mix::new(&base), base, adapters: Vec::new() };
        for folder in folders {
            let adapted = AdapterFile::open(&hub::local(folder, Wanted::Adapter)?)
                .and_then(|file| attach(panel.base.clone(), &file))
                .with_context(|| {
                    format!("cannot load the adapter in {}{}", folder.display(), hub::meant(folder))
                })?;
            panel.adapters.push(match panel.mix.add(&adapted) {
                Ok(number) => Answering::Mixed(number),
                Err(error @ tallow_peft::Error::NotMixable { .. }) => {
                    progress::detail(|| format!("{}: {error}", folder.display()));
                    Answering::Apart(Box::new(adapted))
                }
                Err(error) => return Err(error.into()),
            });
        }
        Ok(panel)
    }

    /// The model without an adapter.
    pub fn base(&self) -> &T5 {
        &self.base
    }

    /// The answers to questions about `sources`, in order.
    pub fn answer(
        &self,
        compute: &Compute,
        questions: &[Question],
        sources: &[&[u32]],
        options: &GenerationOptions,
        batch_size: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<u32>>> {
        let engine = &compute.engine;
        let mut answers = vec![Vec::new(); questions.len()];
        for (adapters, model) in self.passes(options) {
            let asked: Vec<usize> =
                (0..questions.len()).filter(|&i| adapters.contains(&questions[i].adapter)).collect();
            let sources: Vec<&[u32]> = asked.iter().map(|&i| sources[questions[i].prompt]).collect();
            let found = match model {
                Some(model) => engine.generate(model, &sources, options, batch_size, done)?,
                None => {
                    let of_row: Arc<[Option<usize>]> =
                        asked.iter().map(|&i| self.in_mix(questions[i].adapter?)).collect();
                    engine.generate_mixed(&self.mix, &of_row, &sources, options, batch_size, done)?
                }
            };
            asked.into_iter().zip(found).for_each(|(i, answer)| answers[i] = answer);
        }
        Ok(answers)
    }

    fn in_mix(&self, adapter: usize) -> Option<usize> {
        match self.adapters[adapter] {
            Answering::Mixed(number) => Some(number),
            Answering::Apart(_) => None,
        }
    }

    /// The adapters that are asked together, and the model of those that are asked apart.
    fn passes(&self, options: &GenerationOptions) -> Vec<(Vec<Option<usize>>, Option<&T5>)> {
        let numbers = || (0..self.adapters.len()).map(Some).chain([None]);
        let apart = self.adapters.iter().enumerate().filter_map(|(i, adapter)| match adapter {
            Answering::Apart(model) => Some((vec![Some(i)], Some(&**model))),
            Answering::Mixed(_) => None,
        });
        let mixed: Vec<Option<usize>> =
            numbers().filter(|number| number.is_none_or(|number| self.in_mix(number).is_some())).collect();
        // What is drawn depends on a row's number in its pass: asked one adapter at a time, each draws what it draws alone.
        let mixed = match options.sampling {
            None => vec![mixed],
            Some(_) => mixed.into_iter().map(|number| vec![number]).collect(),
        };
        mixed.into_iter().map(|numbers| (numbers, None)).chain(apart).collect()
    }
}
