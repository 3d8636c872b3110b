use std::ffi::c_void;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, result};

use super::Cuda;
use crate::{Mask, Result, trace};

/// One operation's kernels, as PTX.
pub(crate) struct Module {
    pub name: &'static str,
    pub ptx: &'static str,
}

/// The kernels of `src/NAME/kernel.cu`.
macro_rules! module {
    ($name:literal) => {
        crate::cuda::Module {
            name: concat!("tallow_", $name),
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
        }
    };
}
pub(crate) use module;

/// A scalar parameter of a kernel.
pub(crate) trait Scalar: Copy {
    /// Its bytes, lowest first.
    fn slot(self) -> u64;
}

macro_rules! scalar {
    ($($type:ty => $bits:expr),*) => { $(impl Scalar for $type {
        fn slot(self) -> u64 {
            let bits: fn($type) -> u64 = $bits;
            bits(self)
        }
    })* };
}
scalar! {
    u64 => |x| x,
    i64 => |x| x as u64,
    i32 => |x| u64::from(x as u32),
    u32 => u64::from,
    f32 => |x| u64::from(x.to_bits())
}

/// A parameter's bytes, which live until the launch.
enum Argument {
    Slot(u64),
    Bytes(Box<[u64]>),
}

/// A kernel and the parameters it has been given so far.
pub(crate) struct Launch<'a> {
    cuda: &'a Cuda,
    function: CudaFunction,
    arguments: Vec<Argument>,
}

/// The threads of a block where each handles elements of its own.
const THREADS: u32 = 256;
/// Blocks beyond these only wait: threads go on to further elements instead.
const BLOCKS: usize = 132 * 16;

impl Cuda {
    /// A kernel of `module`.
    pub(crate) fn kernel(&self, module: &Module, name: &str) -> Result<Launch<'_>> {
        let mut functions = self.functions.lock().expect("no holder panics");
        let function = match functions.get(name) {
            Some(function) => function.clone(),
            None => {
                let function =
                    self.cuda.get_or_load_custom_func(name, module.name, module.ptx)?.into_cuda_function();
                functions.insert(name.to_owned(), function.clone());
                function
            }
        };
        Ok(Launch { cuda: self, function, arguments: Vec::with_capacity(12) })
    }
}

impl Launch<'_> {
    /// Adds a scalar or a pointer.
    pub fn arg(mut self, value: impl Scalar) -> Self {
        self.arguments.push(Argument::Slot(value.slot()));
        self
    }

    /// Adds a mask; none keeps everything.
    pub fn mask(self, mask: Option<Mask>) -> Self {
        let [key0, key1, threshold, scale] = Mask::words(mask).map(u64::from);
        self.bytes(&[key0 | key1 << 32, threshold | scale << 32])
    }

    /// Adds a struct, by its bytes.
    pub fn bytes(mut self, words: &[u64]) -> Self {
        self.arguments.push(Argument::Bytes(words.into()));
        self
    }

    /// Launches as many threads as `count` elements take.
    pub fn elements(self, count: usize) -> Result<()> {
        let blocks = count.div_ceil(THREADS as usize).min(BLOCKS);
        self.blocks((blocks as u32, 1), THREADS)
    }

    /// Launches a grid of blocks of so many threads. An empty grid does nothing.
    pub fn blocks(mut self, grid: (u32, u32), threads: u32) -> Result<()> {
        if grid.0 == 0 || grid.1 == 0 {
            return Ok(());
        }
        let mut parameters: Vec<*mut c_void> = self
            .arguments
            .iter_mut()
            .map(|argument| match argument {
                Argument::Slot(slot) => (&raw mut *slot).cast(),
                Argument::Bytes(words) => words.as_mut_ptr().cast(),
            })
            .collect();
        let stream = self.cuda.cuda.cuda_stream();
        trace::launch();
        stream.context().bind_to_thread().w()?;
        // SAFETY: the callers give each kernel the parameters that it declares, of operands that cover what it reads
        // and writes.
        unsafe {
            result::launch_kernel(
                self.function.cu_function(),
                (grid.0, grid.1, 1),
                (threads, 1, 1),
                0,
                stream.cu_stream(),
                &mut parameters,
            )
            .w()?;
        }
        Ok(())
    }
}
