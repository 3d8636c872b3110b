//! The device that computes, and its kernels.

use std::sync::Arc;

use anyhow::{Result, bail};
use candle_core::{DType, Device};
use tallow_ops::{Composed, Kernels};
use tallow_peft::Method;
use tallow_train::Engine;

use crate::config::{ComputeOptions, KernelChoice, Place};

/// What computes.
pub struct Compute {
    pub engine: Engine,
    /// The type of weights and activations.
    pub dtype: DType,
}

impl Compute {
    /// Opens the device that is asked for.
    pub fn open(options: &ComputeOptions, threads: usize) -> Result<Self> {
        let place = match options.device {
            Place::Auto => automatic()?,
            place => place,
        };
        let dtype = options.dtype.dtype(place != Place::Cpu);
        let engine = match place {
            Place::Auto | Place::Cpu if dtype != DType::F32 => {
                bail!("dtype = \"bf16\" is for GPUs: a CPU is faster in f32, and exact")
            }
            Place::Auto | Place::Cpu if options.kernels == KernelChoice::Composed => {
                Engine::whole(Arc::new(Composed::new(Device::Cpu)), threads)
            }
            Place::Auto | Place::Cpu => Engine::cpu(threads),
            Place::Cuda(ordinal) => Engine::whole(cuda(ordinal, options)?, threads),
            Place::Metal => Engine::whole(metal()?, threads),
        };
        Ok(Self { engine, dtype })
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        self.engine.kernels().device()
    }

    /// The type to load a model in that is trained by `method`: weights that are trained keep all their digits.
    pub fn loads_in(&self, method: &Method) -> DType {
        if method.has_adapter() { self.dtype } else { DType::F32 }
    }

    /// The most memory that was taken at a time so far, in bytes, where the system tells: of the device, or of the
    /// process.
    pub fn peak_memory(&self) -> Option<usize> {
        match self.device() {
            Device::Cpu => resident_peak(),
            _ => self.engine.kernels().memory().map(|memory| memory.peak),
        }
    }

    /// In a few words, for messages: `2 threads`, `NVIDIA H200 in bf16`.
    pub fn describe(&self) -> String {
        let kernels = self.engine.kernels();
        match (kernels.device(), self.engine.threads()) {
            (Device::Cpu, 1) => "1 thread".to_owned(),
            (Device::Cpu, threads) => format!("{threads} threads"),
            _ => format!("{} in {}", kernels.hardware(), self.dtype.as_str()),
        }
    }
}

/// The first GPU that this binary can use, or else the CPU.
fn automatic() -> Result<Place> {
    #[cfg(feature = "cuda")]
    match tallow_ops::Cuda::count() {
        Ok(0) => crate::progress::say("no CUDA device: computing on the CPU"),
        Ok(_) => return Ok(Place::Cuda(0)),
        Err(error) => bail!("the CUDA driver does not work ({error}): mend it, or give device = \"cpu\""),
    }
    Ok(if cfg!(feature = "metal") { Place::Metal } else { Place::Cpu })
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize, options: &ComputeOptions) -> Result<Arc<dyn Kernels>> {
    crate::verified::open(ordinal, options)
}

#[cfg(not(feature = "cuda"))]
fn cuda(ordinal: usize, _: &ComputeOptions) -> Result<Arc<dyn Kernels>> {
    bail!("device = \"cuda:{ordinal}\": this binary was built without CUDA; build with --features cuda")
}

#[cfg(feature = "metal")]
fn metal() -> Result<Arc<dyn Kernels>> {
    Ok(Arc::new(Composed::new(Device::new_metal(0)?)))
}

#[cfg(not(feature = "metal"))]
fn metal() -> Result<Arc<dyn Kernels>> {
    bail!("device = \"metal\": this binary was built without Metal; build with --features metal, on a Mac")
}

/// The process's highest resident set so far, in bytes, where the system tells.
fn resident_peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}
