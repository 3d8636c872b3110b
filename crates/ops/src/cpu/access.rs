use std::cell::Cell;
use std::ops::{Deref, Range};

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, Tensor};

use crate::{Dest, Error, Result};

/// A tensor's values, read where they lie.
pub(crate) struct Values<'a, T> {
    slice: *const [T],
    // Keeps the storage locked against writers for as long as the slice is used.
    _guard: Box<dyn Guard + 'a>,
}

trait Guard {}
impl<T> Guard for T {}

impl<T> Deref for Values<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the slice lies in the storage that the guard keeps locked and alive.
        unsafe { &*self.slice }
    }
}

fn read<T>(
    tensor: &Tensor,
    wanted: DType,
    pick: impl FnOnce(&CpuStorage, Range<usize>) -> Option<*const [T]>,
) -> Result<Values<'_, T>> {
    let (storage, layout) = tensor.storage_and_layout();
    let slice = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((start, end))) => pick(storage, start..end),
        _ => None,
    };
    match slice {
        Some(slice) => Ok(Values { slice, _guard: Box::new(storage) }),
        None => Err(Error::Unsupported {
            kernels: "cpu",
            wanted,
            found: tensor.dtype(),
            shape: tensor.shape().clone(),
        }),
    }
}

/// The values of a contiguous f32 tensor.
pub(crate) fn values(tensor: &Tensor) -> Result<Values<'_, f32>> {
    read(tensor, DType::F32, |storage, range| match storage {
        CpuStorage::F32(values) => Some(&raw const values[range]),
        _ => None,
    })
}

/// The values of a contiguous u32 tensor: token ids.
pub(crate) fn tokens(tensor: &Tensor) -> Result<Values<'_, u32>> {
    read(tensor, DType::U32, |storage, range| match storage {
        CpuStorage::U32(values) => Some(&raw const values[range]),
        _ => None,
    })
}

/// A buffer whose contents are unspecified: for results that are written whole.
#[expect(clippy::uninit_vec, reason = "filling it would be a pass over memory more")]
pub(crate) fn scratch(len: usize) -> Vec<f32> {
    let mut buffer = Vec::with_capacity(len);
    // SAFETY: the capacity is there, every bit pattern is an f32, and callers write before they read.
    unsafe { buffer.set_len(len) };
    buffer
}

/// A CPU tensor of these values.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape.into(), &Device::Cpu)?)
}

/// Lets `write(values, accumulate)` write a result of `shape` where it is wanted.
pub(crate) fn fill(
    dest: Dest,
    shape: impl Into<Shape>,
    write: impl FnOnce(&mut [f32], bool),
) -> Result<Tensor> {
    let shape = shape.into();
    match dest {
        Dest::New => {
            let mut buffer = scratch(shape.elem_count());
            write(&mut buffer, false);
            tensor(buffer, shape)
        }
        Dest::Add(sum) => {
            if sum.shape() != &shape {
                return Err(Error::shape("accumulate", format!("{shape:?} to {:?}", sum.shape())));
            }
            overwrite(&sum, |values| write(values, true))?;
            Ok(sum)
        }
    }
}

/// Lets `write` change a contiguous f32 tensor in place. Nothing may hold its [`Values`] meanwhile.
pub(crate) fn overwrite(tensor: &Tensor, write: impl FnOnce(&mut [f32])) -> Result<()> {
    Ok(tensor.inplace_op1(&Overwrite(Cell::new(Some(write))))?)
}

struct Overwrite<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32])> InplaceOp1 for Overwrite<F> {
    fn name(&self) -> &'static str {
        "overwrite"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("only contiguous f32 tensors are written in place");
        };
        let write = self.0.take().expect("an in-place operation runs once");
        write(&mut values[start..end]);
        Ok(())
    }
}
