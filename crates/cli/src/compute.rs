//! The device that computes, and its kernels.

use std::sync::Arc;

use anyhow::{Result, bail};
use candle_core::{DType, Device};
use tallow_ops::{Composed, Kernels};
use tallow_peft::Method;
use tallow_train::Engine;

use crate::config::{ComputeOptions, KernelChoice, Place, Problems};

/// What computes.
pub struct Compute {
    pub engine: Engine,
    /// The type of weights and activations.
    pub dtype: DType,
    /// Of the host.
    threads: usize,
}

impl Compute {
    /// Opens the device that is asked for.
    pub fn open(options: &ComputeOptions, threads: usize) -> Result<Self> {
        let place = match options.device {
            Place::Auto => automatic()?,
            place => place,
        };
        let dtype = options.dtype.dtype(place != Place::Cpu);
        Problems::refuse("the settings", problems(place, dtype))?;
        let engine = match place {
            Place::Auto | Place::Cpu if options.kernels == KernelChoice::Composed => {
                Engine::whole(Arc::new(Composed::new(Device::Cpu)), threads)
            }
            Place::Auto | Place::Cpu => Engine::cpu(threads),
            Place::Cuda(ordinal) => Engine::whole(cuda(ordinal, options)?, threads),
            Place::Metal => Engine::whole(metal()?, threads),
        };
        Ok(Self { engine, dtype, threads })
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        self.engine.kernels().device()
    }

    /// The type to load a model in that is trained by `method`: weights that are trained keep all their digits.
    pub fn loads_in(&self, method: &Method) -> DType {
        if method.starts_from_weights() { DType::F32 } else { self.dtype }
    }

    /// For figures: `cpu`, or the GPU's name.
    pub fn device_name(&self) -> String {
        if self.device().is_cpu() { "cpu".to_owned() } else { self.engine.kernels().hardware() }
    }

    /// For figures, as Python has it.
    pub fn dtype_name(&self) -> &'static str {
        if self.dtype == DType::F32 { "float32" } else { "bfloat16" }
    }

    /// What computes, for who wants to know: `cpu kernels on AVX-512, 2 threads, f32`.
    pub fn kernels(&self) -> String {
        let kernels = self.engine.kernels();
        let (name, hardware) = (kernels.name(), kernels.hardware());
        format!("{name} kernels on {hardware}, {}, {}", self.threads(), self.dtype.as_str())
    }

    fn threads(&self) -> String {
        match self.threads {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        }
    }

    /// In a few words, for messages: `2 threads`, `NVIDIA H200 in bf16`.
    pub fn describe(&self) -> String {
        let kernels = self.engine.kernels();
        let threads = self.threads();
        match kernels.device() {
            Device::Cpu if kernels.name() == "composed" => format!("candle's operations on {threads}"),
            Device::Cpu => threads,
            _ => format!("{} in {}", kernels.hardware(), self.dtype.as_str()),
        }
    }
}

/// What this binary, or any, cannot do, by key.
fn problems(place: Place, dtype: DType) -> Vec<(&'static str, String)> {
    let instead =
        if dtype == DType::F32 { "device = \"cpu\"" } else { "device = \"cpu\" and dtype = \"f32\"" };
    let mut problems = Vec::new();
    let mut lacks = |library: &str, how: &str| {
        let what = format!("this binary was built without {library}: build it with {how}, or give {instead}");
        problems.push(("device", what));
    };
    match place {
        Place::Cuda(_) if !cfg!(feature = "cuda") => lacks("CUDA", "--features cuda"),
        Place::Metal if !cfg!(feature = "metal") => lacks("Metal", "--features metal on a Mac"),
        Place::Auto | Place::Cpu if dtype != DType::F32 => {
            let what = "bf16 is for GPUs, and a CPU is faster in f32, and exact: give \"f32\" or \"auto\"";
            problems.push(("dtype", what.to_owned()));
        }
        _ => {}
    }
    problems
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
    bail!("cuda:{ordinal} cannot be opened without CUDA")
}

#[cfg(feature = "metal")]
fn metal() -> Result<Arc<dyn Kernels>> {
    Ok(Arc::new(Composed::new(Device::new_metal(0)?)))
}

#[cfg(not(feature = "metal"))]
fn metal() -> Result<Arc<dyn Kernels>> {
    bail!("no GPU can be opened without Metal")
}
