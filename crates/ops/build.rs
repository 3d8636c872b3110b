//! With the feature `cuda`: compiles every operation's `kernel.cu` to PTX, for the oldest GPUs that know bf16; the
//! driver translates it for the one it finds.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Ampere, the first with bf16 arithmetic.
const ARCHITECTURE: &str = "compute_80";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=NVCC");
    let nvcc = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names the folder for outputs"));
    let folders = std::fs::read_dir("src").expect("the sources can be listed");
    for kernel in
        folders.flatten().map(|folder| folder.path().join("kernel.cu")).filter(|path| path.is_file())
    {
        compile(&nvcc, &kernel, &out);
    }
}

/// src/OPERATION/kernel.cu to OUT/OPERATION.ptx.
fn compile(nvcc: &str, kernel: &Path, out: &Path) {
    let operation =
        kernel.parent().and_then(Path::file_name).expect("a kernel lies in its operation's folder");
    let target = out.join(operation).with_extension("ptx");
    let done = Command::new(nvcc)
        .args(["--ptx", "-O3", "-std=c++17", "-Isrc/cuda", "-arch", ARCHITECTURE, "-o"])
        .arg(&target)
        .arg(kernel)
        .output();
    let advice = "install the CUDA toolkit, name its nvcc by NVCC, or see scripts/cuda-toolkit.sh";
    match done {
        Err(error) => panic!("cannot run {nvcc}: {error}; {advice}"),
        Ok(done) if !done.status.success() => {
            panic!("{nvcc} failed on {}:\n{}", kernel.display(), String::from_utf8_lossy(&done.stderr))
        }
        Ok(_) => {}
    }
}
