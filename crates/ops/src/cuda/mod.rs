//! What the CUDA kernels share: the device, access to tensors, launches, cuBLAS.

mod access;
mod device;
mod gemm;
mod launch;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::CudaFunction;
use candle_core::{DType, Device};

pub(crate) use access::{Operand, fill, operand, wanted};
pub(crate) use gemm::{Layout, Pointers, Product, Size};
pub(crate) use launch::{Module, module};

use crate::attention::Plans;
use crate::trace::Clock;
use crate::{DeviceMemory, Kernels, Result, SCRATCH_VALUES};

/// Kernels for NVIDIA GPUs from Ampere on: our own for everything but matrix products, which are cuBLAS's.
///
/// Everything runs on one stream, so that nothing waits for anything but its turn; nothing is read back.
pub struct Cuda {
    device: Device,
    cuda: CudaDevice,
    functions: Mutex<HashMap<String, CudaFunction>>,
    pub(crate) plans: Mutex<Plans>,
    pub(crate) settings: CudaSettings,
    /// Whether cuBLAS has failed at a group of products.
    groups_failed: AtomicBool,
}

/// How the kernels compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaSettings {
    /// Round the operands of f32 products to TF32: faster, with 10 bits of mantissa.
    pub tf32: bool,
    /// Logits that exist at a time, at most, unless one row has more.
    pub logits: usize,
    /// Scores of attention that exist at a time, at most, unless one query has more.
    pub scores: usize,
    /// Let cuBLAS compute products of different sizes in one launch.
    pub groups: bool,
    /// Fill every fresh output with NaN first, so that what a kernel leaves out shows: for checks.
    pub poison: bool,
}

impl Default for CudaSettings {
    fn default() -> Self {
        Self { tf32: false, logits: SCRATCH_VALUES, scores: SCRATCH_VALUES, groups: true, poison: false }
    }
}

impl Cuda {
    /// Kernels for the GPU of this number, the first being 0.
    ///
    /// # Errors
    /// If there is no such GPU, it is older than Ampere, or there is no driver.
    pub fn new(ordinal: usize, settings: CudaSettings) -> Result<Self> {
        let (device, cuda) = device::open(ordinal, settings.tf32)?;
        Ok(Self::on(device, cuda, settings))
    }

    fn on(device: Device, cuda: CudaDevice, settings: CudaSettings) -> Self {
        let (functions, plans) = (Mutex::default(), Mutex::default());
        Self { device, cuda, functions, plans, settings, groups_failed: AtomicBool::new(false) }
    }

    /// Kernels for the same GPU with other settings; they share its stream and its memory. TF32 stays as it is for
    /// candle's own products.
    #[must_use]
    pub fn with(&self, settings: CudaSettings) -> Self {
        Self::on(self.device.clone(), self.cuda.clone(), settings)
    }

    /// How many GPUs there are; 0 where there is no driver.
    ///
    /// # Errors
    /// If there is a driver, and it does not work.
    pub fn count() -> Result<usize> {
        device::count()
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
        if self.settings.tf32 { format!("{name}, TF32") } else { name }
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
    dtype.as_str()
}
