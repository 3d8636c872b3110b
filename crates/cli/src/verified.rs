//! Which CUDA kernels are used: those that have been verified, and agree on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use tallow_checks::operations::{Extent, cases};
use tallow_ops::{Composed, Cuda, Kernels, Operation, Selected};

use crate::config::{ComputeOptions, KernelChoice};
use crate::progress::say;

/// What was found at the first use on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    /// What it holds for.
    machine: Machine,
    /// The names of operations whose kernels did not agree.
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
    let cuda = Cuda::new(ordinal, options.tf32).with_context(|| format!("cannot open cuda:{ordinal}"))?;
    let wanted: Vec<Operation> = match options.kernels {
        KernelChoice::Composed => Vec::new(),
        KernelChoice::Verified => Operation::VERIFIED_ON_CUDA.to_vec(),
        KernelChoice::All => Operation::ALL.to_vec(),
    };
    let machine = Machine { binary: binary(), gpu: cuda.gpu_name(), driver: cuda.driver_version()? };
    let cuda: Arc<dyn Kernels> = Arc::new(cuda);
    let disagreeing = if wanted.is_empty() { Vec::new() } else { disagreeing(&cuda, machine) };
    for operation in wanted.iter().filter(|operation| disagreeing.contains(operation)) {
        say(&format!(
            "warning: the {operation} kernels do not agree with candle's on this GPU and are not used; \
             please report what gpu-check prints"
        ));
    }
    let agreeing = wanted.into_iter().filter(|operation| !disagreeing.contains(operation));
    Ok(Arc::new(Selected::new(cuda, agreeing)))
}

/// The operations whose kernels give something else than candle's operations on the CPU, over a few small shapes:
/// looked up, or found and written down.
fn disagreeing(cuda: &Arc<dyn Kernels>, machine: Machine) -> Vec<Operation> {
    let file = file();
    let remembered = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let remembered = remembered.and_then(|text| serde_json::from_str::<Remembered>(&text).ok());
    if let Some(found) = remembered.filter(|found| found.machine == machine) {
        return found.disagreeing.iter().filter_map(|name| Operation::named(name)).collect();
    }
    let found = check(cuda);
    let disagreeing = found.iter().map(|operation| operation.name().to_owned()).collect();
    // Without a place to remember it, the check runs each time.
    if let (Some(file), Ok(text)) = (file, serde_json::to_string(&Remembered { machine, disagreeing })) {
        let _ = crate::run::write(&file, &text);
    }
    found
}

fn check(cuda: &Arc<dyn Kernels>) -> Vec<Operation> {
    // On the CPU: on the device, candle's operations would first have to be translated for it.
    let reference: Arc<dyn Kernels> = Arc::new(Composed::new(Device::Cpu));
    let mut found: Vec<Operation> = cases(Extent::Quick)
        .iter()
        .filter(|case| {
            let agrees = |dtype| case.compare(cuda, &reference, dtype).passed();
            !(agrees(DType::F32) && agrees(DType::BF16))
        })
        .map(|case| case.operation)
        .collect();
    found.dedup();
    found
}

fn binary() -> String {
    let metadata = std::env::current_exe().and_then(std::fs::metadata);
    let built = metadata.as_ref().ok().and_then(|metadata| metadata.modified().ok());
    let built = built.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let size = metadata.map_or(0, |metadata| metadata.len());
    format!("{} {size} {}", env!("CARGO_PKG_VERSION"), built.unwrap_or_default().as_nanos())
}

/// Where the finding is kept: in the user's cache folder.
fn file() -> Option<PathBuf> {
    let of_user = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of_user("XDG_CACHE_HOME").or_else(|| Some(of_user("HOME")?.join(".cache")))?;
    Some(cache.join("tallow").join("kernels.json"))
}
