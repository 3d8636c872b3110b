//! safetensors files, read tensor by tensor and written beside their place.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::{Error, Result};

/// The tensors of one or several files, mapped.
pub struct Tensors {
    files: Vec<(PathBuf, Mmap)>,
    /// Name to file, and shape.
    index: BTreeMap<String, (usize, Vec<usize>)>,
}

impl Tensors {
    /// Opens safetensors files.
    ///
    /// # Errors
    /// If a file cannot be read, is cut short, or is not safetensors.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let (mut files, mut index) = (Vec::new(), BTreeMap::new());
        for path in paths {
            let file = File::open(&path).map_err(Error::file(&path))?;
            // SAFETY: the file is only read; another program that changes it meanwhile can change values,
            // which nothing here takes for anything but numbers.
            let map = unsafe { Mmap::map(&file) }.map_err(Error::file(&path))?;
            for (name, view) in parse(&path, &map)?.iter() {
                index.insert(name.to_owned(), (files.len(), view.shape().to_vec()));
            }
            files.push((path, map));
        }
        Ok(Self { files, index })
    }

    /// Opens a model folder: model.safetensors, or else the shards that model.safetensors.index.json lists.
    ///
    /// # Errors
    /// If neither is there or a file cannot be read.
    pub fn open_model(folder: &Path) -> Result<Self> {
        let index = folder.join("model.safetensors.index.json");
        let single = folder.join("model.safetensors");
        if single.is_file() || !index.is_file() {
            return Self::open([single]);
        }
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = std::fs::read_to_string(&index).map_err(Error::file(&index))?;
        let fail = |what: String| Error::Tensors { path: index.clone(), what };
        let map: Index = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        let mut shards: Vec<&String> = map.weight_map.values().collect();
        shards.sort();
        shards.dedup();
        let tensors = Self::open(shards.into_iter().map(|shard| folder.join(shard)))?;
        let lacking = map.weight_map.iter().find(|(name, _)| !tensors.index.contains_key(*name));
        match lacking {
            Some((name, shard)) => Err(fail(format!("{name} is not in {shard}"))),
            None => Ok(tensors),
        }
    }

    /// Every tensor's name and shape, in order.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.index.iter().map(|(name, (_, shape))| (name.as_str(), shape.as_slice()))
    }

    /// Whether there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.index.get(name).map(|(_, shape)| shape.as_slice())
    }

    /// Reads a tensor as `dtype`.
    ///
    /// # Errors
    /// If it is not there, or of a type that is no number.
    pub fn get(&self, name: &str, device: &Device, dtype: DType) -> Result<Tensor> {
        let Some((file, _)) = self.index.get(name) else {
            let path = self.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
            return Err(Error::Tensors { path, what: format!("there is no tensor {name}") });
        };
        let (path, map) = &self.files[*file];
        let view = parse(path, map)?.tensor(name).map_err(|error| broken(path, &error))?;
        read(&view, device, dtype).map_err(|error| match error {
            Error::Tensors { what, .. } => {
                Error::Tensors { path: path.clone(), what: format!("{name} is {what}") }
            }
            other => other,
        })
    }
}

fn parse<'a>(path: &Path, map: &'a Mmap) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(map).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &safetensors::SafeTensorError) -> Error {
    use safetensors::SafeTensorError::{HeaderTooSmall, InvalidHeaderLength, MetadataIncompleteBuffer};
    let what = match error {
        HeaderTooSmall | InvalidHeaderLength | MetadataIncompleteBuffer => {
            "the file is cut short or not safetensors: fetch or write it again".to_owned()
        }
        other => other.to_string(),
    };
    Error::Tensors { path: path.to_path_buf(), what }
}

fn read(view: &TensorView, device: &Device, wanted: DType) -> Result<Tensor> {
    let dtype = DType::try_from(view.dtype()).map_err(|_| Error::Tensors {
        path: PathBuf::new(),
        what: format!("{:?}, which is not read here", view.dtype()),
    })?;
    // Converted before it travels: a device has room for the result alone.
    let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
    Ok(tensor.to_dtype(wanted)?.to_device(device)?)
}

/// Values that are fetched from a device at a time.
const PIECE: usize = 1 << 26;

/// A tensor's own values, on the host. Pieces of it are made tensors of their own first, since candle fetches all that a
/// tensor is a view of; of the whole there may be no room for a second one.
fn on_host(tensor: &Tensor) -> Result<Tensor> {
    if tensor.device().is_cpu() {
        return Ok(tensor.contiguous()?);
    }
    let flat = tensor.flatten_all()?;
    let host = Tensor::zeros(flat.dims(), flat.dtype(), &Device::Cpu)?;
    for start in (0..flat.elem_count()).step_by(PIECE) {
        let piece = flat.narrow(0, start, PIECE.min(flat.elem_count() - start))?;
        host.slice_set(&piece.force_contiguous()?.to_device(&Device::Cpu)?, 0, start)?;
    }
    Ok(host.reshape(tensor.shape())?)
}

/// Writes tensors to `path`, through a file beside it that is then renamed.
///
/// # Errors
/// If a file cannot be written.
pub fn write<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    let beside = path.with_extension("safetensors.part");
    let tensors: Vec<(&str, Tensor)> =
        tensors.into_iter().map(|(name, tensor)| Ok((name, on_host(tensor)?))).collect::<Result<_>>()?;
    let views = tensors.iter().map(|(name, tensor)| (*name, tensor));
    // safetensors makes its files readable by their owner alone; these are as readable as any other file.
    let permissions = File::create(&beside).and_then(|file| Ok(file.metadata()?.permissions()));
    let permissions = permissions.map_err(Error::file(&beside))?;
    safetensors::serialize_to_file(views, metadata, &beside)
        .map_err(|error| Error::Tensors { path: path.to_path_buf(), what: error.to_string() })?;
    std::fs::set_permissions(&beside, permissions).map_err(Error::file(&beside))?;
    std::fs::rename(&beside, path).map_err(Error::file(path))
}
