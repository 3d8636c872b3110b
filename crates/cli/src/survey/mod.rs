//! What a config's rows are: their lengths, what is cut or lost of them, and which occur twice.

mod lengths;
mod lost;
mod repeated;
mod text;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use tallow_data::{Dataset, Example, Examples, Tokenizer};

use self::lengths::Lengths;
pub use self::lost::LINE_BREAKS;
use self::lost::Lost;
use self::repeated::{Known, Repeated};
pub use self::text::{lost, share};
use crate::config::Config;
use crate::data::{TEST, TRAINING, VALIDATION, test, training, validation};

/// Of the rows of one part.
#[derive(Serialize)]
pub struct Survey {
    pub name: &'static str,
    pub rows: usize,
    /// Template to rows.
    templates: BTreeMap<String, usize>,
    pub prompts: Lengths,
    pub targets: Lengths,
    /// Targets that are not cut and do not come back from their tokens as they were.
    pub targets_changed: Lost,
    /// Rows with the prompt and the target of an earlier row of the part.
    pub repeated: Repeated,
    /// Rows with the prompt of a training row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_training: Option<Repeated>,
    /// Source and target tokens of each row, as training has them.
    #[serde(skip)]
    pub tokens: Vec<(usize, usize)>,
}

/// Texts that are tokenised at a time.
const AT_A_TIME: usize = 512;

/// The prompts of the training rows.
#[derive(Default)]
pub struct Training(Known);

/// A part's name, and its rows if it has any, or what is wrong with their files.
pub type Named = (&'static str, Result<Option<Dataset>>);

/// The parts of a config's rows.
pub fn parts(config: &Config) -> [Named; 3] {
    [(TRAINING, training(config).map(Some)), (VALIDATION, validation(config)), (TEST, test(config))]
}

impl Survey {
    /// Looks at all rows of a part; the training rows come first.
    ///
    /// # Errors
    /// What is wrong with a row.
    pub fn of(
        name: &'static str,
        rows: &Dataset,
        config: &Config,
        tokenizer: &Tokenizer,
        known: &mut Training,
    ) -> Result<Self> {
        let task = config.task();
        let (sources, targets) = (task.max_source_tokens, task.max_target_tokens);
        let mut survey = Self {
            name,
            rows: 0,
            templates: BTreeMap::new(),
            prompts: Lengths::new(sources),
            targets: Lengths::new(targets),
            targets_changed: Lost::default(),
            repeated: Repeated::default(),
            in_training: (name != TRAINING).then(Repeated::default),
            tokens: Vec::new(),
        };
        let (mut own, mut waiting) = (Known::default(), Vec::with_capacity(AT_A_TIME));
        rows.each(&mut |example: Example| {
            survey.repeated.count(&example, own.meet((&example.prompt, &example.target), &example.origin));
            match &mut survey.in_training {
                Some(found) => found.count(&example, known.0.get(&example.prompt)),
                None => drop(known.0.meet(&example.prompt, &example.origin)),
            }
            waiting.push(example);
            match waiting.len() {
                AT_A_TIME => survey.count(&mut waiting, tokenizer),
                _ => Ok(()),
            }
        })?;
        survey.count(&mut waiting, tokenizer)?;
        survey.prompts.finish();
        survey.targets.finish();
        Ok(survey)
    }

    fn count(&mut self, examples: &mut Vec<Example>, tokenizer: &Tokenizer) -> tallow_data::Result<()> {
        let texts = |side: fn(&Example) -> &str| examples.iter().map(side).collect::<Vec<_>>();
        let sources = tokenizer.encode_batch(&texts(|example| &example.prompt), usize::MAX)?;
        let targets = tokenizer.encode_targets(&texts(|example| &example.target), usize::MAX)?;
        for ((example, source), target) in examples.drain(..).zip(sources).zip(targets) {
            self.rows += 1;
            let kept = (self.prompts.count(source.ids.len()), self.targets.count(target.ids.len()));
            self.tokens.push(kept);
            if kept.1 == target.ids.len() {
                let found = tokenizer.changed(&example.target, &target.ids)?;
                found.inspect(|found| self.targets_changed.count(&example, found));
            }
            *self.templates.entry(example.template).or_default() += 1;
        }
        Ok(())
    }

    /// In words.
    pub fn text(&self) -> String {
        text::of(self)
    }
}
