//! Which CUDA kernels are used: those that have been verified, and agree on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use tallow_checks::operations::{Extent, cases};
use tallow_ops::{Composed, Cuda, CudaSettings, Kernels, Operation, Selected};

use crate::config::{ComputeOptions, KernelChoice};
use crate::progress::say;

/// What was found at the first use of kernels on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    /// What it holds for.
    machine: Machine,
    /// The names of operations whose kernels agree.
    agreeing: Vec<String>,
    /// The names of operations whose kernels do not.
    disagreeing: Vec<String>,
}

/// A new one of these is checked anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Machine {
    /// The program: its size and the time it was built.
    binary: String,
    gpu: String,
    driver: i32,
}

/// Opens a GPU with the kernels that are to be used there.
pub fn open(ordinal: usize, options: &ComputeOptions) -> Result<Arc<dyn Kernels>> {
    match Cuda::count() {
        Ok(0) => bail!("device = \"cuda:{ordinal}\": no CUDA device was found; give device = \"cpu\""),
        Ok(count) if count <= ordinal => {
            bail!("device = \"cuda:{ordinal}\": the last CUDA device is cuda:{}", count - 1)
        }
        Ok(_) => {}
        Err(error) => bail!("device = \"cuda:{ordinal}\": the CUDA driver does not work: {error}"),
    }
    let settings = CudaSettings { tf32: options.tf32, ..CudaSettings::default() };
    let cuda = Cuda::new(ordinal, settings).with_context(|| format!("cannot open cuda:{ordinal}"))?;
    let wanted: Vec<Operation> = match options.kernels {
        KernelChoice::Composed => Vec::new(),
        KernelChoice::Verified => Operation::VERIFIED_ON_CUDA.to_vec(),
        KernelChoice::All => Operation::ALL.to_vec(),
    };
    let disagreeing = if wanted.is_empty() { Vec::new() } else { disagreeing(&cuda, &wanted)? };
    for operation in &disagreeing {
        say(&format!(
            "warning: the {operation} kernels do not agree with candle's on this GPU and are not used; \
             please report what gpu-check prints"
        ));
    }
    let agreeing = wanted.into_iter().filter(|operation| !disagreeing.contains(operation));
    Ok(Arc::new(Selected::new(Arc::new(cuda), agreeing)))
}

/// Those of the `wanted` operations whose kernels give something else than candle's operations on the CPU, over a few
/// small shapes: looked up, or found and written down.
fn disagreeing(cuda: &Cuda, wanted: &[Operation]) -> Result<Vec<Operation>> {
    let machine = Machine { binary: binary(), gpu: cuda.gpu_name(), driver: cuda.driver_version()? };
    let file = file();
    let remembered = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let remembered = remembered.and_then(|text| serde_json::from_str::<Remembered>(&text).ok());
    let mut known = remembered.filter(|found| found.machine == machine).unwrap_or(Remembered {
        machine,
        agreeing: Vec::new(),
        disagreeing: Vec::new(),
    });
    let is_known = |known: &Remembered, operation: &Operation| {
        known.agreeing.iter().chain(&known.disagreeing).any(|name| name == operation.name())
    };
    let new: Vec<Operation> =
        wanted.iter().copied().filter(|operation| !is_known(&known, operation)).collect();
    for &operation in &new {
        let list = if agrees(cuda, operation)? { &mut known.agreeing } else { &mut known.disagreeing };
        list.push(operation.name().to_owned());
    }
    // Without a place to remember it, the check runs each time.
    if let (false, Some(file), Ok(text)) = (new.is_empty(), file, serde_json::to_string(&known)) {
        let _ = crate::run::write(&file, &text);
    }
    let found = known.disagreeing.iter().filter_map(|name| Operation::named(name));
    Ok(found.filter(|operation| wanted.contains(operation)).collect())
}

/// Whether an operation's kernels agree. One that fails is no disagreement: a GPU without memory to spare says nothing of
/// the kernels, and one that has crashed computes nothing more in this process.
fn agrees(cuda: &Cuda, operation: Operation) -> Result<bool> {
    // In full f32, whatever is computed with later.
    let exact: Arc<dyn Kernels> = Arc::new(cuda.with(CudaSettings::default()));
    let kernels: Arc<dyn Kernels> = Arc::new(Selected::new(exact, [operation]));
    // On the CPU: on the device, candle's operations would first have to be translated for it.
    let reference: Arc<dyn Kernels> = Arc::new(Composed::new(Device::Cpu));
    let cases = cases(Extent::Quick);
    for case in cases.iter().filter(|case| case.operation == operation) {
        for dtype in [DType::F32, DType::BF16] {
            let found = case.compare(&kernels, &reference, dtype);
            if let Some(failure) = found.failure {
                bail!(
                    "the first check of the {operation} kernels on this GPU failed: {failure}; give kernels = \
                     \"composed\", and please report what gpu-check prints"
                );
            }
            if !found.passed() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn binary() -> String {
    let metadata = std::env::current_exe().and_then(std::fs::metadata);
    let built = metadata.as_ref().ok().and_then(|metadata| metadata.modified().ok());
    let built = built.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let size = metadata.map_or(0, |metadata| metadata.len());
    format!("{} {size} {}", env!("CARGO_PKG_VERSION"), built.unwrap_or_default().as_nanos())
}

/// Where the finding is kept.
fn file() -> Option<PathBuf> {
    Some(crate::cache::folder()?.join("kernels.json"))
}
