use std::time::Duration;

use candle_core::Device;
use candle_core::cuda_backend::cudarc::cublas;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, sys};
use candle_core::cuda_backend::{CudaDevice, WrapErr};

use super::Cuda;
use crate::trace::{Clock, Mark};
use crate::{DeviceMemory, Error, Result};

/// The oldest GPUs that the kernels are made for.
const OLDEST: (i32, i32) = (8, 0);

pub(super) fn count() -> Result<usize> {
    match CudaContext::device_count() {
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        // What the driver says, and what stands in for a driver that is not there.
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        Err(error) => Err(error).w().map_err(Into::into),
    }
}

/// One stream, a pool that keeps what it has, and no events.
pub(super) fn open(ordinal: usize, tf32: bool) -> Result<(Device, CudaDevice)> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?.clone();
    let (major, minor) = cuda.cuda_stream().context().compute_capability().w()?;
    if (major, minor) < OLDEST {
        let name = cuda.cuda_stream().context().name().unwrap_or_default();
        return Err(Error::OldGpu { name, major, minor });
    }
    // SAFETY: this process has one stream, on which everything happens in order.
    unsafe { cuda.disable_event_tracking() };
    candle_core::cuda::set_gemm_reduced_precision_f32(tf32);
    // By default cuBLAS may sum the parts of a long bf16 product in bf16.
    let mode = cublas::sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    // SAFETY: the handle is the device's own.
    unsafe { cublas::sys::cublasSetMathMode(*cuda.cublas_handle().handle(), mode).result().w()? };
    // By default the pool gives its memory back at every synchronisation, and asks for it again after.
    let mut all = u64::MAX;
    // SAFETY: the attribute is a u64, which lives through the call.
    unsafe {
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool(&cuda)?, threshold, (&raw mut all).cast()).result().w()?;
    }
    Ok((device, cuda))
}

fn pool(cuda: &CudaDevice) -> Result<sys::CUmemoryPool> {
    let mut pool = std::ptr::null_mut();
    let device = cuda.cuda_stream().context().cu_device();
    // SAFETY: the pool's handle is written to a place of ours.
    unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, device).result().w()? };
    Ok(pool)
}

impl Cuda {
    /// The GPU's name, as the driver tells it.
    pub fn gpu_name(&self) -> String {
        self.cuda.cuda_stream().context().name().unwrap_or_else(|_| "a GPU".to_owned())
    }

    /// The driver's version: 13000 for CUDA 13.0.
    ///
    /// # Errors
    /// If the driver does not answer.
    pub fn driver_version(&self) -> Result<i32> {
        let mut version = 0;
        // SAFETY: the version is written to a place of ours.
        unsafe { sys::cuDriverGetVersion(&raw mut version).result().w()? };
        Ok(version)
    }

    /// How much memory there is: of what is free, also what the pool holds in reserve.
    pub(super) fn device_memory(&self) -> Result<DeviceMemory> {
        use sys::CUmemPool_attribute as Attribute;
        let (free, total) = self.cuda.cuda_stream().context().mem_get_info().w()?;
        let pool = pool(&self.cuda)?;
        let read = |attribute| -> Result<usize> {
            let mut value = 0u64;
            // SAFETY: the attribute is a u64, which is written to a place of ours.
            unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut value).cast()).result().w()? };
            Ok(value as usize)
        };
        let reserved = read(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
        let used = read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
        let peak = read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?;
        Ok(DeviceMemory { free: free + reserved.saturating_sub(used), total, peak })
    }

    /// Gives back to the system what the pool holds in reserve.
    pub(super) fn trim_pool(&self) -> Result<()> {
        self.synchronize()?;
        // SAFETY: the pool is the device's own.
        unsafe { sys::cuMemPoolTrimTo(pool(&self.cuda)?, 0).result().w()? };
        Ok(())
    }

    /// Waits for all that was launched.
    ///
    /// # Errors
    /// If a launch failed.
    pub fn synchronize(&self) -> Result<()> {
        Ok(self.cuda.cuda_stream().synchronize().w()?)
    }
}

/// Events on the stream: the times at which the GPU passes them.
pub(super) struct EventClock(pub std::sync::Arc<CudaStream>);

impl Clock for EventClock {
    fn mark(&self) -> Mark {
        // Without this flag an event tells no time.
        let event = self.0.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        Box::new(event.ok())
    }

    fn between(&self, start: &Mark, end: &Mark) -> Duration {
        fn event(mark: &Mark) -> Option<&CudaEvent> {
            mark.downcast_ref::<Option<CudaEvent>>()?.as_ref()
        }
        let elapsed = event(start).zip(event(end)).and_then(|(start, end)| start.elapsed_ms(end).ok());
        Duration::from_secs_f64(f64::from(elapsed.unwrap_or(0.0).max(0.0)) / 1e3)
    }
}
