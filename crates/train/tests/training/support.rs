use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};
use tallow_data::{Sample, Samples};
use tallow_peft::{Adapted, FullOptions, Initial, LoraOptions, Method, TargetModules, inject};
use tallow_t5::T5;
use tallow_train::{
    Checkpoint, Checkpoints, Engine, Observer, Outcome, Result, StepReport, Trainer, TrainingOptions,
};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model")
}

pub fn model() -> T5 {
    T5::load(&folder(), &Device::Cpu, DType::F32).unwrap()
}

/// Rows of these (source, target) lengths.
pub fn rows(lengths: &[(usize, usize)]) -> Vec<Sample> {
    let ids = |number: usize, length: usize| {
        let body = (1..length).map(|i| (2 + (i * 37 + number * 101) % 382) as u32);
        body.chain([1]).collect()
    };
    lengths
        .iter()
        .zip(0..)
        .map(|(&(source, target), i)| Sample { source: ids(i, source), target: ids(i + 50, target) })
        .collect()
}

/// Ten rows, five for training and validation of what needs no more.
pub fn ten() -> Vec<Sample> {
    rows(&[(9, 4), (30, 12), (4, 2), (17, 8), (22, 5), (6, 6), (40, 20), (3, 1), (12, 9), (8, 3)])
}

pub fn lora_with(options: LoraOptions) -> Adapted {
    inject(model(), &Method::Lora(options), Initial::Seed(1), DType::F32).unwrap()
}

pub fn lora() -> Adapted {
    lora_with(LoraOptions { rank: 4, ..Default::default() })
}

/// LoRA with dropout on every layer.
pub fn dropping_lora() -> Adapted {
    let target_modules = TargetModules::Pattern("all-linear".into());
    lora_with(LoraOptions { rank: 4, dropout: 0.2, target_modules, ..Default::default() })
}

pub fn full() -> Adapted {
    inject(model(), &Method::Full(FullOptions {}), Initial::Seed(1), DType::F32).unwrap()
}

/// [parameters | first moments | second moments].
pub fn state(adapted: &Adapted) -> Vec<f32> {
    adapted.parameters.state().to_vec1().unwrap()
}

/// The three parts of [`state`].
pub fn thirds(adapted: &Adapted) -> [Vec<f32>; 3] {
    let (state, n) = (state(adapted), adapted.parameters.buffer_len());
    [0, 1, 2].map(|third| state[third * n..][..n].to_vec())
}

/// Bits, which tell NaN from NaN and 0 from -0.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Replaces all of the state in place.
pub fn set_state(adapted: &Adapted, state: Vec<f32>) {
    adapted.parameters.restore(&Tensor::new(state, &Device::Cpu).unwrap()).unwrap();
}

/// |a - b| / |b|.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut b.iter().map(|&x| f64::from(x)));
    assert!(size > 0.0, "nothing to compare with");
    norm(&mut a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b))) / size
}

/// What observers hear.
#[derive(Clone, Default)]
pub struct Heard {
    pub steps: Vec<StepReport>,
    /// (step, loss, best).
    pub validations: Vec<(usize, f64, bool)>,
    pub checkpoints: Vec<(usize, PathBuf)>,
}

struct Listener {
    heard: Rc<RefCell<Heard>>,
    stop: Arc<AtomicBool>,
    stop_in: Option<usize>,
}

impl Observer for Listener {
    fn step(&mut self, report: &StepReport, _total: usize) -> Result<()> {
        self.heard.borrow_mut().steps.push(report.clone());
        self.stop.store(self.stop_in == Some(report.step), Ordering::Relaxed);
        Ok(())
    }

    fn validation(&mut self, step: usize, loss: f64, best: bool) -> Result<()> {
        self.heard.borrow_mut().validations.push((step, loss, best));
        Ok(())
    }

    fn checkpoint(&mut self, step: usize, path: &Path) -> Result<()> {
        self.heard.borrow_mut().checkpoints.push((step, path.to_path_buf()));
        Ok(())
    }
}

/// A run to be made.
pub struct Run<'a> {
    pub options: TrainingOptions,
    pub seed: u64,
    pub threads: usize,
    pub rows: Vec<Sample>,
    pub validation: Vec<Sample>,
    pub checkpoints: Option<&'a Path>,
    /// Asks to stop while this step runs.
    pub stop_in: Option<usize>,
}

impl Default for Run<'_> {
    fn default() -> Self {
        let options = TrainingOptions { dropout: Some(0.0), ..Default::default() };
        let (rows, validation) = (ten(), Vec::new());
        Self { options, seed: 9, threads: 1, rows, validation, checkpoints: None, stop_in: None }
    }
}

impl Run<'_> {
    pub fn train(&self, adapted: &mut Adapted) -> (Outcome, Heard) {
        let (outcome, heard) = self.resume(adapted, None, &mut Vec::new());
        (outcome.unwrap(), heard)
    }

    pub fn resume<'o>(
        &self,
        adapted: &mut Adapted,
        start: Option<&Checkpoint>,
        observers: &mut Vec<Box<dyn Observer + 'o>>,
    ) -> (Result<Outcome>, Heard) {
        let (heard, stop) = (Rc::<RefCell<Heard>>::default(), Arc::<AtomicBool>::default());
        let (listener, flag) =
            (Listener { heard: heard.clone(), stop: stop.clone(), stop_in: self.stop_in }, &*stop);
        observers.push(Box::new(listener));
        let (rows, validation): (Samples, Samples) =
            (self.rows.clone().into(), self.validation.clone().into());
        let mut trainer = Trainer {
            adapted,
            engine: &Engine::cpu(self.threads),
            options: &self.options,
            seed: self.seed,
            rows: &rows,
            origin: &|row| format!("rows.jsonl:{}", row + 1),
            validation: &validation,
            checkpoints: self.checkpoints.map(|path| Checkpoints::new(path.to_path_buf())),
            stop: flag,
        };
        let outcome = trainer.run(start, observers);
        let heard = heard.borrow().clone();
        (outcome, heard)
    }
}

/// The newest checkpoint in a folder.
pub fn newest(folder: &Path) -> Checkpoint {
    Checkpoints::new(folder.to_path_buf()).newest().unwrap().expect("a checkpoint")
}

/// The names in a folder, in order.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
