//! Weights by torch.save, against the same in safetensors; scripts/golden_pickle.py has made both.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use tallow_t5::tensors::Tensors;
use tempfile::TempDir;

use crate::support::message;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/pickle").join(name)
}

/// A folder of weights alone.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in files {
        std::fs::copy(fixture(from), folder.path().join(to)).unwrap();
    }
    folder
}

fn check_equal(found: &Tensors) {
    let expected = Tensors::open([fixture("tensors.safetensors")]).unwrap();
    let shapes = |tensors: &Tensors| -> Vec<(String, Vec<usize>)> {
        tensors.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
    };
    assert_eq!(shapes(found), shapes(&expected));
    assert_eq!(shapes(found).len(), 8);
    for (name, _) in shapes(found) {
        let values = |tensors: &Tensors| -> Vec<u32> {
            let tensor = tensors.get(&name, &Device::Cpu, DType::F32).unwrap();
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(values(found), values(&expected), "{name}");
        // For good: over the mapped file where that can be.
        let (lasting, _) = found.lasting(&name, &Device::Cpu, DType::F32).unwrap();
        let lasting: Vec<f32> = lasting.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(lasting.into_iter().map(f32::to_bits).collect::<Vec<_>>(), values(&expected), "{name}");
    }
    // Its bytes are read as they lie, unless they are another order's.
    let is_mapped = |name: &str| found.lasting(name, &Device::Cpu, DType::F32).unwrap().1.is_some();
    assert_eq!(["shared.weight", "part", "transposed"].map(is_mapped), [true, true, false]);
}

#[test]
fn torchs_weights_are_those_of_safetensors() {
    check_equal(&Tensors::open_model(folder(&[("tensors.bin", "pytorch_model.bin")]).path()).unwrap());
}

#[test]
fn shards_are_found_by_their_list() {
    let shards = folder(&[("tensors.bin", "pytorch_model-00001-of-00001.bin")]);
    let index = shards.path().join("pytorch_model.bin.index.json");
    let list = |name: &str| {
        let text = format!(r#"{{"weight_map": {{"{name}": "pytorch_model-00001-of-00001.bin"}}}}"#);
        std::fs::write(&index, text).unwrap();
    };
    list("norm");
    check_equal(&Tensors::open_model(shards.path()).unwrap());
    list("other");
    let found = message(Tensors::open_model(shards.path()));
    assert!(found.ends_with("index.json: other is not in pytorch_model-00001-of-00001.bin"), "{found}");
}

#[test]
fn safetensors_go_before_torchs_files() {
    let both = folder(&[("tensors.safetensors", "model.safetensors"), ("integers.bin", "pytorch_model.bin")]);
    assert!(Tensors::open_model(both.path()).unwrap().contains("shared.weight"));
}

#[test]
fn what_cannot_be_read_is_named() {
    let save = "save the model as safetensors in Python, with save_pretrained";
    for (file, what) in [
        ("integers.bin", format!("position_ids: is I64; f32, bf16 and f16 are read; {save}")),
        ("strided.bin", format!("columns: its values do not lie together; {save}")),
        ("nested.bin", "holds no tensors by name: save the model's state_dict alone".to_owned()),
        (
            "old.bin",
            format!("the file is cut short, or torch before 1.6 wrote it: fetch it again, or {save}"),
        ),
    ] {
        let found = message(Tensors::open([fixture(file)]));
        assert_eq!(found, format!("{}: {what}", fixture(file).display()));
    }
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let whole = std::fs::read(fixture("tensors.bin")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("pytorch_model.bin");
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let found = message(Tensors::open([path.clone()]));
        assert!(found.contains("the file is cut short"), "{length} bytes: {found}");
    }
}
