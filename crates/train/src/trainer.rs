use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tallow_data::{Sample, Samples};
use tallow_ops::{Randomness, Update, number};
use tallow_peft::Adapted;

use crate::{
    Checkpoint, Checkpoints, Engine, Error, Observer, Progress, Result, StepReport, TrainingOptions,
    mean_loss,
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps are done.
    Finished(Progress),
    /// It was asked to stop, and wrote a checkpoint if it has a place for it.
    Stopped(Progress),
}

/// One training run.
pub struct Trainer<'a> {
    /// The model and what is trained of it.
    pub adapted: &'a mut Adapted,
    /// What computes.
    pub engine: &'a Engine,
    /// How.
    pub options: &'a TrainingOptions,
    /// Of batches and dropout.
    pub seed: u64,
    /// The training rows.
    pub rows: &'a Samples,
    /// Where training row i stands, for messages.
    pub origin: &'a dyn Fn(usize) -> String,
    /// The rows of the validation loss, of which the options may want the first alone; none is measured without.
    pub validation: &'a Samples,
    /// Where checkpoints go; none are written without.
    pub checkpoints: Option<Checkpoints>,
    /// Set from outside to stop after the running step.
    pub stop: &'a AtomicBool,
}

impl Trainer<'_> {
    /// Trains from `start`, or from the beginning; at the end the parameters are those of the lowest
    /// validation loss, if it was measured and checkpoints are written.
    ///
    /// # Errors
    /// If a loss or gradient is not finite, a checkpoint is of another run, or a file cannot be written.
    pub fn run(
        &mut self,
        start: Option<&Checkpoint>,
        observers: &mut [Box<dyn Observer + '_>],
    ) -> Result<Outcome> {
        let options = self.options;
        let training = &mut self.adapted.model.training;
        training.dropout = options.dropout.unwrap_or(training.dropout);
        training.checkpointing = options.checkpointing;
        let batches = options.batches(self.rows.all_lengths(), self.seed)?;
        let total = options.total_steps(&batches);
        if options.warmup_steps >= total {
            return Err(Error::WarmUp { steps: options.warmup_steps, total });
        }
        let (threads, hardware) = (self.engine.threads(), self.engine.kernels().hardware());
        let batch_tokens = options.tokens();
        let mut progress = Progress { threads, hardware, batch_tokens, ..Progress::default() };
        if let Some(start) = start {
            start.restore(&self.adapted.parameters)?;
            progress.step = start.progress.step;
            // A best state that was written after this checkpoint is found again, or a lower one, by going on.
            let best = self.checkpoints.as_ref().map_or(Ok(None), Checkpoints::best)?;
            if best.is_some_and(|best| Some(best.progress.step) == start.progress.best_step) {
                (progress.best_step, progress.best_loss) =
                    (start.progress.best_step, start.progress.best_loss);
            }
        }
        let mut good = start.map(|start| start.path.clone());
        let gradients = self.adapted.parameters.gradients()?;
        let done = progress.step * options.accumulation;
        let left = options.total_batches(&batches).saturating_sub(done);
        let mut steps = batches.from_step(done).take(left);
        while progress.step < total {
            let begin = Instant::now();
            let micro: Vec<(usize, Vec<usize>)> = steps.by_ref().take(options.accumulation).collect();
            let learning_rate =
                options.learning_rate * options.schedule.factor(progress.step, options.warmup_steps, total);
            let mut report = self.step(progress.step, &micro, learning_rate, &gradients, good.as_ref())?;
            progress.step += 1;
            report.time = begin.elapsed();
            report.peak_memory = self.engine.peak_memory();
            for observer in observers.iter_mut() {
                observer.step(&report, total)?;
            }
            let kernels = self.engine.kernels();
            let due = |every: usize| every > 0 && progress.step.is_multiple_of(every);
            let (evaluate, write) = (due(options.evaluate_every), due(options.checkpoint_every));
            let last = progress.step == total;
            let stopped = !last && self.stop.load(Ordering::Relaxed);
            // What is measured or written is checked first: a finite gradient can still throw a parameter out
            // of range.
            if (evaluate || write || last || stopped)
                && !number(&kernels.sum_of_squares(self.adapted.parameters.state())?)?.is_finite()
            {
                return Err(self.non_finite(progress.step, "update", &micro, good.as_ref()));
            }
            if evaluate || last {
                self.validate(&mut progress, good.as_ref(), observers)?;
            }
            if let (Some(checkpoints), true) = (&self.checkpoints, (write && !last) || stopped) {
                let path =
                    checkpoints.write(&self.adapted.parameters, &progress, options.keep_checkpoints)?;
                for observer in observers.iter_mut() {
                    observer.checkpoint(progress.step, &path)?;
                }
                good = Some(path);
            }
            if stopped {
                return Ok(Outcome::Stopped(progress));
            }
        }
        if let (Some(checkpoints), Some(step)) = (&self.checkpoints, progress.best_step)
            && step != progress.step
        {
            match checkpoints.best()?.filter(|best| best.progress.step == step) {
                Some(best) => best.restore(&self.adapted.parameters)?,
                None => return Err(checkpoints.lost_best(step)),
            }
        }
        Ok(Outcome::Finished(progress))
    }

    /// One step, from the rows to the parameters. The host reads its figures back once, when all of it is under
    /// way; a step whose gradients are not finite has left the parameters as they were.
    fn step(
        &self,
        step: usize,
        micro: &[(usize, Vec<usize>)],
        learning_rate: f64,
        gradients: &candle_core::Tensor,
        good: Option<&PathBuf>,
    ) -> Result<StepReport> {
        let (options, parameters) = (self.options, &self.adapted.parameters);
        let (mut figures, mut target_tokens, mut tokens) = (Vec::new(), 0, 0);
        for (index, (_, rows)) in micro.iter().enumerate() {
            let samples = self.rows.read(rows)?;
            let samples: Vec<&Sample> = samples.iter().collect();
            let (seed, batch) = (self.seed, (index as u64) << 32);
            let stream = move |shard: u64| Randomness::new(seed, step as u64, batch | shard);
            figures.extend(self.engine.accumulate(
                &self.adapted.model,
                parameters,
                &samples,
                options.label_smoothing,
                Some(&stream),
                gradients,
            )?);
            target_tokens += samples.iter().map(|row| row.target.len()).sum::<usize>();
            tokens += samples.iter().map(|row| row.source.len() + row.target.len()).sum::<usize>();
        }
        let update = Update {
            step: step as u64 + 1,
            learning_rate,
            gradient_scale: 1.0 / target_tokens as f64,
            max_grad_norm: options.max_grad_norm,
        };
        figures.push(options.adamw().step(&**self.engine.kernels(), parameters, gradients, update)?);
        let mut figures = self.engine.read(&figures)?;
        let squares = figures.pop().unwrap_or_default();
        let grad_norm = squares.sqrt() / target_tokens as f64;
        let loss = figures.into_iter().sum::<f64>() / target_tokens as f64;
        let what = match (loss.is_finite(), grad_norm.is_finite()) {
            (false, _) => "loss",
            (true, false) => "gradient",
            (true, true) => {
                let epoch = micro.last().map_or(0, |(epoch, _)| *epoch);
                return Ok(StepReport {
                    step: step + 1,
                    epoch,
                    loss,
                    grad_norm,
                    learning_rate,
                    tokens,
                    time: std::time::Duration::ZERO,
                    peak_memory: None,
                });
            }
        };
        Err(self.non_finite(step + 1, what, micro, good))
    }

    fn non_finite(
        &self,
        step: usize,
        what: &'static str,
        micro: &[(usize, Vec<usize>)],
        good: Option<&PathBuf>,
    ) -> Error {
        let rows = micro.iter().flat_map(|(_, rows)| rows).map(|&row| (self.origin)(row)).collect();
        Error::NonFinite { step, what, rows, good: good.cloned() }
    }

    fn validate(
        &self,
        progress: &mut Progress,
        good: Option<&PathBuf>,
        observers: &mut [Box<dyn Observer + '_>],
    ) -> Result<()> {
        if self.validation.is_empty() {
            return Ok(());
        }
        let all = match self.options.validation_rows {
            0 => self.validation.len(),
            rows => rows.min(self.validation.len()),
        };
        let mut rows = 0;
        let loss = mean_loss(self.engine, &self.adapted.model, self.validation, all, &mut |more| {
            rows += more;
            observers.iter_mut().try_for_each(|observer| observer.validating(rows, all))
        })?;
        if !loss.is_finite() {
            return Err(self.non_finite(progress.step, "validation loss", &[], good));
        }
        let best = progress.best_loss.is_none_or(|best| loss < best);
        if best {
            progress.best_loss = Some(loss);
            progress.best_step = Some(progress.step);
            if let Some(checkpoints) = &self.checkpoints {
                checkpoints.write_best(&self.adapted.parameters, progress)?;
            }
        }
        for observer in observers.iter_mut() {
            observer.validation(progress.step, loss, best)?;
        }
        Ok(())
    }
}
