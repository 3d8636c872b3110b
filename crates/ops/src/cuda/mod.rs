//! What the CUDA kernels share: the device, access to tensors, launches, cuBLAS.

mod access;
mod device;
mod gemm;
mod launch;

use std::collections::HashMap;
use std::sync::Mutex;

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::CudaFunction;
use candle_core::{DType, Device};

pub(crate) use access::{Operand, fill, operand, wanted};
pub(crate) use gemm::{Layout, Pointers, Product, Size};
pub(crate) use launch::{Module, module};

use crate::attention::Plans;
use crate::trace::Clock;
use crate::{DeviceMemory, Kernels, Result};

/// Kernels for NVIDIA GPUs from Ampere on: our own for everything but matrix products, which are cuBLAS's.
///
/// Everything runs on one stream, so that nothing waits for anything but its turn; nothing is read back.
pub struct Cuda {
    device: Device,
    cuda: CudaDevice,
    functions: Mutex<HashMap<String, CudaFunction>>,
    pub(crate) plans: Mutex<Plans>,
    tf32: bool,
    poison: bool,
}

impl Cuda {
    /// Kernels for the GPU of this number, the first being 0. With `tf32`, products of f32 matrices run in TF32:
    /// faster, with 10 bits of mantissa.
    ///
    /// # Errors
    /// If there is no such GPU, or no driver.
    pub fn new(ordinal: usize, tf32: bool) -> Result<Self> {
        let (device, cuda) = device::open(ordinal, tf32)?;
        Ok(Self { device, cuda, functions: Mutex::default(), plans: Mutex::default(), tf32, poison: false })
    }

    /// Whether there is a GPU.
    pub fn is_available() -> bool {
        device::is_available()
    }

    /// Fills every fresh output with NaN first, so that what a kernel leaves out shows. For checks.
    #[must_use]
    pub fn poisoned(mut self) -> Self {
        self.poison = true;
        self
    }
}

impl Kernels for Cuda {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn hardware(&self) -> String {
        let name = self.gpu_name();
        if self.tf32 { format!("{name}, TF32") } else { name }
    }

    fn memory(&self) -> Option<DeviceMemory> {
        self.device_memory().ok()
    }

    fn trim(&self) {
        // Nothing is lost if it fails: the next allocation says so.
        let _ = self.trim_pool();
    }

    fn clock(&self) -> Box<dyn Clock> {
        Box::new(device::EventClock(self.cuda.cuda_stream()))
    }
}

/// The part of a kernel's name that tells the type of its values.
pub(crate) fn suffix(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bf16",
        _ => "f32",
    }
}
