//! The binary that checks a GPU: on one, on the emulated one of `tests/emulator`, and without any.

use std::path::Path;
use std::process::{Command, Output};

fn gpu_check(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    command
}

/// Its last line.
fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn the_kernels_agree() {
    let output = gpu_check(&["--quick"]).output().unwrap();
    let (text, result) = (String::from_utf8_lossy(&output.stdout), json(&output));
    assert!(output.status.success(), "{text}");
    if let Some(why) = result.get("skipped") {
        assert!(std::env::var_os("TALLOW_CUDA_REQUIRED").is_none(), "{why}");
        println!("{why}: skipped");
        return;
    }
    assert_eq!(result["failed"], 0, "{text}");
    assert_eq!(result["agreeing_operations"].as_array().unwrap().len(), 13, "{text}");
    assert!(result["operations"].as_array().unwrap().len() >= 66 && text.contains("decodes: agrees"));
}

/// The CUDA libraries are opened at the first call, so that one binary runs everywhere.
#[test]
fn without_a_gpu_it_says_so() {
    let output = gpu_check(&[]).env("CUDA_SHIM_NONE", "1").env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
    let why = if cfg!(feature = "cuda") { "no CUDA device" } else { "built without CUDA (--features cuda)" };
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().next(),
        Some(format!("{why}: skipped").as_str())
    );
    assert_eq!(json(&output)["skipped"], why);
}
