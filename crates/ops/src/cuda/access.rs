use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, result};
use candle_core::cuda_backend::{CudaDType, CudaStorage, CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{DType, Shape, Storage, Tensor};
use half::bf16;

use super::Cuda;
use crate::{Dest, Error, Result};

/// Where a contiguous tensor's values lie on the device, and of what type they are.
///
/// Kernels write through it too: the device's memory is not Rust's, and one stream keeps the order. Freeing waits
/// for its turn on the same stream, so an operand outlives the launches that were given it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub pointer: u64,
    pub dtype: DType,
}

/// Where the values of a contiguous tensor of f32 or bf16 lie.
pub(crate) fn operand(tensor: &Tensor) -> Result<Operand> {
    match locate(tensor)? {
        found if matches!(found.dtype, DType::F32 | DType::BF16) => Ok(found),
        _ => Err(unsupported(tensor, DType::F32)),
    }
}

fn locate(tensor: &Tensor) -> Result<Operand> {
    let (storage, layout) = tensor.storage_and_layout();
    let start = layout.contiguous_offsets().map(|(start, _)| start);
    let found = match (&*storage, start) {
        (Storage::Cuda(storage), Some(start)) => base(&storage.slice, storage).map(|base| (base, start)),
        _ => None,
    };
    let dtype = tensor.dtype();
    match found {
        Some((base, start)) => Ok(Operand { pointer: base + (start * dtype.size_in_bytes()) as u64, dtype }),
        None => Err(unsupported(tensor, DType::F32)),
    }
}

/// Where the values of a contiguous tensor of one type lie.
pub(crate) fn wanted(tensor: &Tensor, dtype: DType) -> Result<u64> {
    match locate(tensor)? {
        found if found.dtype == dtype => Ok(found.pointer),
        _ => Err(unsupported(tensor, dtype)),
    }
}

fn unsupported(tensor: &Tensor, wanted: DType) -> Error {
    Error::Unsupported { kernels: "cuda", wanted, found: tensor.dtype(), shape: tensor.shape().clone() }
}

fn base(slice: &CudaStorageSlice, storage: &CudaStorage) -> Option<u64> {
    fn pointer<T: DeviceRepr>(slice: &CudaSlice<T>, storage: &CudaStorage) -> u64 {
        slice.device_ptr(&storage.device.cuda_stream()).0
    }
    match slice {
        CudaStorageSlice::F32(slice) => Some(pointer(slice, storage)),
        CudaStorageSlice::BF16(slice) => Some(pointer(slice, storage)),
        CudaStorageSlice::U32(slice) => Some(pointer(slice, storage)),
        CudaStorageSlice::I64(slice) => Some(pointer(slice, storage)),
        CudaStorageSlice::F64(slice) => Some(pointer(slice, storage)),
        _ => None,
    }
}

impl Cuda {
    /// A tensor whose contents are unspecified: for results that are written whole.
    pub(crate) fn empty(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        let shape = shape.into();
        match dtype {
            DType::F32 => self.uninitialised::<f32>(shape),
            DType::BF16 => self.uninitialised::<bf16>(shape),
            DType::F64 => self.uninitialised::<f64>(shape),
            DType::I64 => self.uninitialised::<i64>(shape),
            _ => Err(Error::Unsupported { kernels: "cuda", wanted: DType::F32, found: dtype, shape }),
        }
    }

    fn uninitialised<T: DeviceRepr + CudaDType>(&self, shape: Shape) -> Result<Tensor> {
        let count = shape.elem_count();
        // SAFETY: every bit pattern is a value of these types, and callers write before they read.
        let slice = unsafe { self.cuda.alloc::<T>(count)? };
        if self.settings.poison && count > 0 {
            let stream = self.cuda.cuda_stream();
            let (pointer, _guard) = slice.device_ptr(&stream);
            // SAFETY: the range is the fresh allocation.
            unsafe {
                result::memset_d8_async(pointer, 0xFF, count * size_of::<T>(), stream.cu_stream()).w()?
            };
        }
        let storage = CudaStorage::wrap_cuda_slice(slice, self.cuda.clone());
        Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
    }

    /// A tensor of zeros.
    pub(crate) fn zeros(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        Ok(Tensor::zeros(shape, dtype, &self.device)?)
    }

    /// A tensor of these numbers.
    pub(crate) fn upload(&self, values: Vec<i64>) -> Result<Tensor> {
        let count = values.len();
        Ok(Tensor::from_vec(values, count, &self.device)?)
    }
}

/// Lets `write(result, accumulate)` write a result of `shape` where it is wanted; fresh ones are of `dtype`.
pub(crate) fn fill(
    cuda: &Cuda,
    dest: Dest,
    shape: impl Into<Shape>,
    dtype: DType,
    write: impl FnOnce(Operand, bool) -> Result<()>,
) -> Result<Tensor> {
    let shape = shape.into();
    let (result, accumulate) = match dest {
        Dest::New => (cuda.empty(shape, dtype)?, false),
        Dest::Add(sum) if sum.shape() != &shape => {
            return Err(Error::shape("accumulate", format!("{shape:?} to {:?}", sum.shape())));
        }
        Dest::Add(sum) => (sum, true),
    };
    if result.elem_count() > 0 {
        write(operand(&result)?, accumulate)?;
    }
    Ok(result)
}
