//! Golden folders, and what compares with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Composed, Cpu, Kernels};
use tallow_t5::{Batch, T5};

/// A folder with a model and what transformers and peft computed with it.
pub struct Golden(PathBuf);

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Runs a check in every folder through every kind of kernels.
pub fn for_each(check: impl Fn(&Golden, &Arc<dyn Kernels>)) {
    let kinds: [Arc<dyn Kernels>; 2] = [Arc::new(Cpu), Arc::new(Composed::new(Device::Cpu))];
    for golden in Golden::all() {
        for kernels in &kinds {
            println!("{}, {} kernels", golden.name(), kernels.name());
            check(&golden, kernels);
        }
    }
}

impl Golden {
    /// Every folder of tests/golden and of $TALLOW_GOLDENS.
    pub fn all() -> Vec<Self> {
        let mut roots = vec![committed()];
        roots.extend(std::env::var_os("TALLOW_GOLDENS").map(PathBuf::from));
        let mut found = Vec::new();
        for root in roots {
            let entries =
                std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
            let mut folders: Vec<PathBuf> = entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.join("model/config.json").is_file())
                .collect();
            assert!(!folders.is_empty(), "{} holds no golden folder", root.display());
            folders.sort();
            found.extend(folders.into_iter().map(Self));
        }
        found
    }

    pub fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Whether the folder is one of this repository's own.
    pub fn is_committed(&self) -> bool {
        self.0.starts_with(committed())
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.0.join(inner)
    }

    pub fn model(&self) -> T5 {
        T5::load(&self.path("model"), &Device::Cpu).unwrap()
    }

    /// The model with another file as its config.json.
    pub fn model_with(&self, config: &str) -> T5 {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in [(config, "config.json"), ("model.safetensors", "model.safetensors")] {
            std::fs::copy(self.path("model").join(from), folder.path().join(to)).unwrap();
        }
        T5::load(folder.path(), &Device::Cpu).unwrap()
    }

    pub fn tensors(&self, file: &str) -> BTreeMap<String, Tensor> {
        tensors(&self.path(file))
    }

    pub fn json(&self, file: &str) -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(file)).unwrap()).unwrap()
    }

    pub fn batch(&self) -> PaddedBatch {
        let tensors = self.tensors("batch.safetensors");
        let rows = |name: &str| tensors[name].to_dtype(DType::I64).unwrap().to_vec2::<i64>().unwrap();
        let lengths = |rows: &[Vec<i64>], real: &dyn Fn(i64) -> bool| {
            rows.iter().map(|row| row.iter().filter(|&&x| real(x)).count()).collect::<Vec<_>>()
        };
        let (input_ids, labels) = (rows("input_ids"), rows("labels"));
        PaddedBatch {
            source_lengths: lengths(&rows("attention_mask"), &|x| x == 1),
            target_lengths: lengths(&labels, &|x| x != -100),
            input_ids,
            labels,
        }
    }
}

/// A batch as the reference saw it.
pub struct PaddedBatch {
    input_ids: Vec<Vec<i64>>,
    labels: Vec<Vec<i64>>,
    pub source_lengths: Vec<usize>,
    pub target_lengths: Vec<usize>,
}

impl PaddedBatch {
    pub fn sources(&self) -> Vec<Vec<u32>> {
        cut(&self.input_ids, &self.source_lengths)
    }

    pub fn packed(&self) -> Batch {
        let pack = |rows: Vec<Vec<u32>>| {
            let packed = tallow_data::Packed::new(&rows);
            (packed.ids, packed.bounds)
        };
        let (source, target) = (pack(self.sources()), pack(cut(&self.labels, &self.target_lengths)));
        Batch::new((&source.0, &source.1), (&target.0, &target.1), 0, &Device::Cpu).unwrap()
    }

    /// The real positions of (rows, length, width) as (tokens, width).
    pub fn real_sources(&self, padded: &Tensor) -> Tensor {
        real(padded, &self.source_lengths)
    }

    pub fn real_targets(&self, padded: &Tensor) -> Tensor {
        real(padded, &self.target_lengths)
    }
}

fn cut(rows: &[Vec<i64>], lengths: &[usize]) -> Vec<Vec<u32>> {
    rows.iter().zip(lengths).map(|(row, &length)| row[..length].iter().map(|&x| x as u32).collect()).collect()
}

fn real(padded: &Tensor, lengths: &[usize]) -> Tensor {
    let rows: Vec<Tensor> = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| padded.get(row).unwrap().narrow(0, 0, length).unwrap())
        .collect();
    Tensor::cat(&rows, 0).unwrap()
}

/// A safetensors file's tensors by name; integers stay.
pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu);
    tensors.unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_iter().collect()
}

/// |a - b| / |b|, over all elements in f64; |a - b| where b is all zero.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let values =
        |x: &Tensor| x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (values(a), values(b));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut b.iter().copied());
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    if size == 0.0 { difference } else { difference / size }
}

pub fn assert_close(what: &str, found: &Tensor, wanted: &Tensor, tolerance: f64) {
    let distance = distance(found, wanted);
    // Written so that NaN fails.
    assert!(distance <= tolerance, "{what}: {distance:e} from the reference, more than {tolerance:e}");
}
