use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tallow_data::{Example, Tokenizer};
use tallow_peft::{Adapted, Initial, inject};
use tallow_report::Run;
use tallow_t5::T5;
use tallow_train::{
    Answer, BatchTokens, Checkpoint, Engine, Evaluation, MetricsLog, Observer, Outcome, Progress, Trainer,
    answers, largest_batch, score,
};

use super::report;
use crate::args::TrainArguments;
use crate::compute::Compute;
use crate::config::{Config, load};
use crate::data::{Task, check_vocabulary, model, tokenizer, trained};
use crate::facts::Session;
use crate::progress::{self, Bar, say};
use crate::run::{Interrupt, Interrupted, RunFolder, write};
use crate::tensorboard::Board;

/// What evaluation.json holds.
#[derive(Default, Serialize, Deserialize)]
struct Figures {
    /// Of the base, over `before_rows` rows.
    before: Option<Evaluation>,
    /// Of the trained model, over the same rows.
    after_same_rows: Option<Evaluation>,
    /// Of the trained model, over all rows.
    after: Option<Evaluation>,
}

impl Figures {
    /// Those that there are, by their names.
    fn named(&self) -> Vec<(&'static str, &Evaluation)> {
        let named =
            [("before", &self.before), ("after_same_rows", &self.after_same_rows), ("after", &self.after)];
        named.into_iter().filter_map(|(name, figures)| Some((name, figures.as_ref()?))).collect()
    }

    /// The same as a table has them.
    fn columns(&self) -> Vec<(&'static str, &Evaluation)> {
        let column = |(name, figures)| (if name == "before" { name } else { "after" }, figures);
        self.named().into_iter().map(column).collect()
    }
}

pub fn run(arguments: &TrainArguments) -> Result<()> {
    let config = load(&arguments.config.config, &arguments.config.overrides)?;
    let folder = RunFolder::find(&config, arguments.resume)?;
    let result = train_and_measure(arguments, &config, &folder);
    // A run that was stopped has a report too.
    if folder.has_steps() {
        report::refresh(&folder);
    }
    match result? {
        Some(figures) => progress::print(&progress::table(&figures.columns())),
        None => Ok(()),
    }
}

/// Gives the figures, if there are rows to measure on.
fn train_and_measure(
    arguments: &TrainArguments,
    config: &Config,
    folder: &RunFolder,
) -> Result<Option<Figures>> {
    let compute = Compute::open(&config.compute(), config.threads())?;
    let tokenizer = tokenizer(&config.model)?;
    let task = Task::load(config, &tokenizer, &say)?;
    let base = model(&config.model.path, compute.device(), compute.loads_in(&config.method))?;
    check_vocabulary(&tokenizer, &config.model, &base)?;
    let mut adapted = inject(base.clone(), &config.method, Initial::Seed(config.seed), compute.dtype)?;
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
    let done = start.as_ref().map_or(0, |start| start.progress.step);
    let _session = match is_trained {
        true => None,
        false => Some(Session::begin(folder, config, &compute, &base, trainable, done)?),
    };
    let mut figures = read_figures(folder)?;
    let rows = first(&task.held_out, config.evaluation.rows).len();
    let before_rows = config.evaluation.before_rows.min(rows);
    if before_rows > 0 && figures.before.is_none() {
        let rows = &task.held_out[..before_rows];
        let (found, evaluation) = measure(config, engine, &base, &tokenizer, rows, "before training")?;
        figures.before = Some(evaluation);
        write(&folder.predictions_before(), &lines(&found)?)?;
        write_figures(folder, &figures)?;
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
            adapted.save(&place, &config.model.path, config.model.tokenizer.as_deref())?;
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
        return Ok(None);
    }
    let is_new = figures.after.is_none();
    let rows = &task.held_out[..rows];
    let (found, evaluation) = measure(config, engine, &model, &tokenizer, rows, "after training")?;
    figures.after_same_rows = match before_rows > 0 && before_rows < found.len() {
        true => Some(score(&found[..before_rows], &config.evaluation.scores)?),
        false => None,
    };
    figures.after = Some(evaluation);
    write_figures(folder, &figures)?;
    write(&folder.predictions(), &lines(&found)?)?;
    if is_new && let Err(error) = show(&figures, folder, &mut board) {
        say(&format!("no scores for TensorBoard: {error:#}"));
    }
    Ok(Some(figures))
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
            None => largest_batch(engine, adapted, &task.train.samples)?,
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
        rows: &task.train.samples,
        origin: &|row| task.train.examples[row].origin.to_string(),
        validation: first(&task.validation.samples, options.validation_rows),
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

/// So many of the rows, or all of them for 0.
fn first<T>(rows: &[T], wanted: usize) -> &[T] {
    match wanted {
        0 => rows,
        wanted => &rows[..wanted.min(rows.len())],
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

fn read_figures(folder: &RunFolder) -> Result<Figures> {
    let path = folder.evaluation();
    if !path.exists() {
        return Ok(Figures::default());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: not valid", path.display()))
}

fn write_figures(folder: &RunFolder, figures: &Figures) -> Result<()> {
    write(&folder.evaluation(), &(serde_json::to_string_pretty(figures)? + "\n"))
}
