use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use tallow_t5::{Batch, T5};

/// A folder with a model and what transformers and peft computed with it.
pub struct Golden {
    path: PathBuf,
    strict: bool,
}

impl Golden {
    /// Every golden folder in `root`, by name. In those of `strict` ones, every figure has to be met; in others a
    /// figure that the reference itself does not determine is reported and passed over.
    ///
    /// # Panics
    /// If there is none.
    pub fn in_folder(root: &Path, strict: bool) -> Vec<Self> {
        let entries = std::fs::read_dir(root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        let mut folders: Vec<PathBuf> = entries
            .map(|entry| entry.expect("a folder's entries can be read").path())
            .filter(|path| path.join("model/config.json").is_file())
            .collect();
        assert!(!folders.is_empty(), "{} holds no golden folder", root.display());
        folders.sort();
        folders.into_iter().map(|path| Self { path, strict }).collect()
    }

    /// The folder's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether every figure has to be met.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// A path in the folder.
    pub fn path(&self, inner: &str) -> PathBuf {
        self.path.join(inner)
    }

    /// The adapters in the folder, by name. A committed one holds one of each kind that peft has.
    pub fn adapters(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("adapters")).unwrap();
        let folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let names = folders.map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        let kinds = ["bottleneck", "dora", "ia3", "lora", "prefix_tuning", "prompt_tuning", "rslora"];
        let missing = kinds.iter().find(|kind| !names.iter().any(|name| name == *kind));
        match missing {
            Some(missing) if self.strict => panic!("{}: there is no adapter {missing}", self.name()),
            Some(missing) => println!("{}: there is no adapter {missing}", self.name()),
            None => {}
        }
        names
    }

    /// The base model, in f32.
    pub fn model(&self, device: &Device) -> T5 {
        T5::load(&self.path("model"), device, DType::F32).unwrap()
    }

    /// The model with another file as its config.json.
    pub fn model_with(&self, config: &str, device: &Device) -> T5 {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in [(config, "config.json"), ("model.safetensors", "model.safetensors")] {
            std::fs::copy(self.path("model").join(from), folder.path().join(to)).unwrap();
        }
        T5::load(folder.path(), device, DType::F32).unwrap()
    }

    /// A safetensors file's tensors, on the CPU.
    pub fn tensors(&self, file: &str) -> BTreeMap<String, Tensor> {
        tensors(&self.path(file))
    }

    /// A JSON file.
    pub fn json(&self, file: &str) -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(file)).unwrap()).unwrap()
    }

    /// The batch that every figure is about.
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
    /// The real tokens of each source.
    pub source_lengths: Vec<usize>,
    /// The real tokens of each target.
    pub target_lengths: Vec<usize>,
}

impl PaddedBatch {
    /// The sources without padding.
    pub fn sources(&self) -> Vec<Vec<u32>> {
        cut(&self.input_ids, &self.source_lengths)
    }

    /// The batch without padding.
    pub fn packed(&self, device: &Device) -> Batch {
        let pack = |rows: Vec<Vec<u32>>| {
            let packed = tallow_data::Packed::new(&rows);
            (packed.ids, packed.bounds)
        };
        let (source, target) = (pack(self.sources()), pack(cut(&self.labels, &self.target_lengths)));
        Batch::new((&source.0, &source.1), (&target.0, &target.1), 0, device).unwrap()
    }

    /// The real positions of (rows, length, width) as (tokens, width).
    pub fn real_sources(&self, padded: &Tensor) -> Tensor {
        real(padded, &self.source_lengths)
    }

    /// Likewise, of targets.
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

/// The tensors of an adapter's folder, under the names that tallow writes.
pub fn adapter_tensors(folder: &Path) -> BTreeMap<String, Tensor> {
    let files = ["adapter_model.safetensors", "adapter.safetensors"].map(|file| folder.join(file));
    let file = files.into_iter().find(|path| path.is_file());
    as_written(tensors(&file.unwrap_or_else(|| panic!("{}: holds no adapter", folder.display()))))
}

/// Tensors under the names that tallow writes: those of AdapterHub have the adapter's own name in them.
pub fn as_written(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let written = |(name, tensor): (String, Tensor)| (name.replace(".golden.", ".tallow."), tensor);
    tensors.into_iter().map(written).collect()
}

/// A safetensors file's tensors by name; integers stay.
pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu);
    tensors.unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_iter().collect()
}
