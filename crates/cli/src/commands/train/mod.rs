//! Training, and measuring before and after it.

mod figures;

use anyhow::Result;
use tallow_data::{Example, Tokenizer};
use tallow_peft::{Adapted, Initial, inject};
use tallow_report::Run;
use tallow_t5::T5;
use tallow_train::{
    Answer, BatchTokens, Checkpoint, Engine, Evaluation, MetricsLog, Observer, Outcome, Progress, Trainer,
    answers, largest_batch, score,
};

use self::figures::Figures;
use super::report;
use crate::args::TrainArguments;
use crate::compute::Compute;
use crate::config::{Config, load};
use crate::data::{Task, check_vocabulary, method, model, task_tokenizer, trained};
use crate::facts::Session;
use crate::hub;
use crate::progress::{self, Bar, detail, say};
use crate::run::{Interrupt, Interrupted, RunFolder, write};
use crate::tensorboard::Board;

pub fn run(arguments: &TrainArguments) -> Result<()> {
    let config = load(&arguments.config.config, &arguments.config.overrides)?;
    let folder = RunFolder::find(&config, arguments.resume)?;
    let before = folder.steps_bytes();
    let result = train_and_measure(arguments, &config, &folder);
    // A run that was stopped has a report too; one that failed before its first step stays as it was.
    if folder.has_steps() && (result.is_ok() || folder.steps_bytes() != before) {
        report::refresh(&folder);
    }
    let figures = result?;
    match arguments.json {
        true => progress::print(&figures.json(folder.path(), &folder.trained(&config))?),
        false if figures.after.is_none() => Ok(()),
        false => progress::print(&progress::table(&figures.columns())),
    }
}

/// Gives the figures: none after training, if there are no rows to measure on.
fn train_and_measure(arguments: &TrainArguments, config: &Config, folder: &RunFolder) -> Result<Figures> {
    let compute = Compute::open(&config.compute(), config.threads())?;
    detail(|| format!("read the config; {}", compute.kernels()));
    let tokenizer = task_tokenizer(config)?;
    detail(|| format!("read the tokenizer of {} tokens", tokenizer.vocabulary_size()));
    let task = Task::load(config, &tokenizer, &say)?;
    detail(|| format!("read and tokenised the rows, {} of them to train on", task.train.len()));
    let base = model(&config.model.path, compute.device(), compute.loads_in(&config.method))?;
    check_vocabulary(&tokenizer, &config.model, &base)?;
    detail(|| format!("loaded the model of {} parameters", base.parameters()));
    let method = method(&config.method, &tokenizer)?;
    let mut adapted = inject(base.clone(), &method, Initial::Seed(config.seed), compute.dtype)?;
    let engine = &compute.engine;
    let (trainable, all) = (adapted.parameters.trainable(), base.parameters());
    let share = 100.0 * trainable as f64 / all as f64;
    say(&format!(
        "{trainable} trainable parameters on a base of {all} ({share:.2}%), {}",
        compute.describe()
    ));

    let _begun = if arguments.resume { None } else { Some(folder.make(config)?) };
    let interrupt = Interrupt::install(folder)?;
    let place = folder.trained(config);
    let is_trained = arguments.resume && place.is_dir();
    let start = if is_trained { None } else { folder.checkpoints().newest()? };
    // What cannot be gone on with stays as it is, the metrics behind it too.
    if let Some(start) = &start {
        start.check(&adapted.parameters)?;
    }
    let mut figures = Figures::read(folder)?;
    let done = start.as_ref().map_or(0, |start| start.progress.step);
    let _session = match is_trained {
        true => None,
        false => Some(Session::begin(folder, config, &compute, &base, trainable, done)?),
    };
    let before_rows = config.evaluation.before_rows.min(task.held_out.len());
    if before_rows > 0 && figures.before.is_none() {
        let rows = &task.held_out[..before_rows];
        let (found, evaluation) = measure(config, engine, &base, &tokenizer, rows, "before training")?;
        figures.before = Some(evaluation);
        detail(|| format!("measured {before_rows} rows before training"));
        write(&folder.predictions_before(), &lines(&found)?)?;
        figures.write(folder)?;
    }
    drop(base);

    let mut board = Board::new(folder, config);
    let model = match is_trained {
        true => {
            say(&format!("{} is trained already", place.display()));
            trained(config, &place, &compute)?
        }
        false => {
            board.begin(done)?;
            if let (0, Some(before)) = (done, &figures.before) {
                board.evaluation("before", 0, before)?;
            }
            let best = train(&mut adapted, config, engine, &task, folder, start, (&interrupt, &mut board))?;
            hub::save(&adapted, &place, &config.model)?;
            match best {
                Some(step) => say(&format!(
                    "wrote {}: the state of step {step}, of the lowest validation loss",
                    place.display()
                )),
                None => say(&format!("wrote {}", place.display())),
            }
            // Measuring may take long, and be interrupted.
            report::refresh(folder);
            interrupt.training(false);
            interrupt.check(|| stopped("the training", folder))?;
            adapted.model
        }
    };
    if task.held_out.is_empty() {
        return Ok(figures);
    }
    let is_new = figures.after.is_none();
    let rows = &task.held_out;
    let (found, evaluation) = measure(config, engine, &model, &tokenizer, rows, "after training")?;
    figures.after_same_rows = match before_rows > 0 && before_rows < found.len() {
        true => Some(score(&found[..before_rows], &config.evaluation.scores)?),
        false => None,
    };
    figures.after = Some(evaluation);
    figures.write(folder)?;
    write(&folder.predictions(), &lines(&found)?)?;
    detail(|| format!("measured {} rows after training", found.len()));
    if is_new && let Err(error) = show(&figures, folder, &mut board) {
        say(&format!("no scores for TensorBoard: {error:#}"));
    }
    Ok(figures)
}

/// Gives the scores after training to TensorBoard.
fn show(figures: &Figures, folder: &RunFolder, board: &mut Board) -> Result<()> {
    let step = Run::read(folder.path(), Vec::new())?.last_step();
    board.begin(step)?;
    let after = figures.named().into_iter().filter(|(name, _)| *name != "before");
    after.into_iter().try_for_each(|(name, evaluation)| board.evaluation(name, step, evaluation))
}

/// Trains from `start`, or from the beginning; gives the step whose state is left, if it was
/// chosen by the validation loss.
fn train(
    adapted: &mut Adapted,
    config: &Config,
    engine: &Engine,
    task: &Task,
    folder: &RunFolder,
    start: Option<Checkpoint>,
    (interrupt, board): (&Interrupt, &mut Board),
) -> Result<Option<usize>> {
    let mut options = config.training.clone();
    if options.batch().is_none() {
        let tokens = match start.as_ref().and_then(|start| start.progress.batch_tokens) {
            Some(tokens) => tokens,
            None => largest_batch(engine, adapted, &task.train)?,
        };
        say(&format!("batches of at most {tokens} tokens"));
        options.batch_tokens = Some(BatchTokens::Tokens(tokens));
    }
    if let Some(start) = &start {
        say(&format!("resuming after step {}", start.progress.step));
        warn_of_machine(start, engine);
    }
    let done = start.as_ref().map_or(0, |start| start.progress.step);
    let log = MetricsLog::open(&folder.metrics(), done)?;
    let mut observers: Vec<Box<dyn Observer + '_>> =
        vec![Box::new(log), Box::new(board), Box::new(Bar::new(done))];
    interrupt.training(true);
    let outcome = Trainer {
        adapted,
        engine,
        options: &options,
        seed: config.seed,
        rows: &task.train,
        origin: &|row| task.origin(row),
        validation: &task.validation,
        checkpoints: Some(folder.checkpoints()),
        stop: &interrupt.stop,
    }
    .run(start.as_ref(), &mut observers)?;
    drop(observers);
    if let Some(peak) = engine.peak_memory() {
        say(&format!("at most {} of memory", progress::size(peak as u64)));
    }
    match outcome {
        Outcome::Finished(progress) => Ok(progress.best_step),
        Outcome::Stopped(progress) => Err(stopped(&format!("step {}", progress.step), folder).into()),
    }
}

fn stopped(after: &str, folder: &RunFolder) -> Interrupted {
    Interrupted(format!("stopped after {after}; {}", folder.go_on()))
}

/// Sums follow the threads and the hardware, and rows drop by the thread they are dealt to.
fn warn_of_machine(start: &Checkpoint, engine: &Engine) {
    let Progress { threads, hardware, .. } = &start.progress;
    if *threads != engine.threads() {
        let now = engine.threads();
        say(&format!(
            "the run had {threads} threads and now has {now}: from here on it is not the run that never stopped"
        ));
    }
    let now = engine.kernels().hardware();
    if *hardware != now {
        say(&format!("the run was computed with {hardware} and goes on with {now}: last bits will differ"));
    }
}

/// Generates for `rows` and scores the answers.
pub fn measure(
    config: &Config,
    engine: &Engine,
    model: &T5,
    tokenizer: &Tokenizer,
    rows: &[Example],
    when: &str,
) -> Result<(Vec<Answer>, Evaluation)> {
    let options = &config.evaluation;
    let bar = progress::rows(rows.len(), &format!("rows {when}"));
    let (found, cut) = answers(
        engine,
        model,
        tokenizer,
        rows,
        config.task().max_source_tokens,
        (&options.generation, options.batch_size),
        &|done| bar.inc(done as u64),
    )?;
    bar.finish_and_clear();
    progress::say_cut(cut, rows.len(), config.task().max_source_tokens);
    let evaluation = score(&found, &options.scores)?;
    Ok((found, evaluation))
}

/// Answers as JSON lines.
pub fn lines(answers: &[Answer]) -> Result<String> {
    let lines = answers.iter().map(|answer| Ok(serde_json::to_string(answer)? + "\n"));
    lines.collect()
}
