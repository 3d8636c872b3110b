//! safetensors files, read tensor by tensor and written beside their place; and what torch.save writes, read.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use safetensors::SafeTensors;

use crate::pickle::{self, Pickled};
use crate::{Error, Result};

/// The tensors of one or several files, mapped.
pub struct Tensors {
    files: Vec<(PathBuf, Arc<Mmap>)>,
    index: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    file: usize,
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    /// Its columns lie one after the other, not its rows.
    transposed: bool,
    /// Of the file.
    bytes: Range<usize>,
}

impl Tensors {
    /// Opens safetensors files, and files by torch.save, which end in `.bin`.
    ///
    /// # Errors
    /// If a file cannot be read, is cut short, or is neither.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let (mut files, mut index) = (Vec::new(), BTreeMap::new());
        for path in paths {
            let file = File::open(&path).map_err(Error::file(&path))?;
            // SAFETY: the file is only read; another program that changes it meanwhile can change values,
            // which nothing here takes for anything but numbers.
            let map = unsafe { Mmap::map(&file) }.map_err(Error::file(&path))?;
            if path.extension().is_some_and(|kind| kind == "bin") {
                for Pickled { name, dtype, shape, transposed, bytes } in pickle::read(&path, &map)? {
                    index.insert(name, Entry { file: files.len(), dtype, shape, transposed, bytes });
                }
                files.push((path, Arc::new(map)));
                continue;
            }
            let start = map.as_ptr() as usize;
            for (name, view) in SafeTensors::deserialize(&map).map_err(|error| broken(&path, &error))?.iter()
            {
                let first = view.data().as_ptr() as usize - start;
                let entry = Entry {
                    file: files.len(),
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    transposed: false,
                    bytes: first..first + view.data().len(),
                };
                index.insert(name.to_owned(), entry);
            }
            files.push((path, Arc::new(map)));
        }
        Ok(Self { files, index })
    }

    /// Opens a model folder: model.safetensors, or else the shards that model.safetensors.index.json lists, or else
    /// the same of pytorch_model.bin.
    ///
    /// # Errors
    /// If none is there or a file cannot be read.
    pub fn open_model(folder: &Path) -> Result<Self> {
        for name in ["model.safetensors", "pytorch_model.bin"] {
            let (whole, index) = (folder.join(name), folder.join(format!("{name}.index.json")));
            match () {
                () if whole.is_file() => return Self::open([whole]),
                () if index.is_file() => return Self::open_shards(folder, &index),
                () => {}
            }
        }
        // Its absence is the error.
        Self::open([folder.join("model.safetensors")])
    }

    fn open_shards(folder: &Path, index: &Path) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = std::fs::read_to_string(index).map_err(Error::file(index))?;
        let fail = |what: String| Error::Tensors { path: index.to_path_buf(), what };
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
        self.index.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// Whether there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.index.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Reads a tensor as `dtype`.
    ///
    /// # Errors
    /// If it is not there, or of a type that is no number.
    pub fn get(&self, name: &str, device: &Device, dtype: DType) -> Result<Tensor> {
        let (entry, map) = self.entry(name)?;
        let found = DType::try_from(entry.dtype).map_err(|_| {
            let what = format!("{name} is {:?}, which is not read here", entry.dtype);
            Error::Tensors { path: self.files[entry.file].0.clone(), what }
        })?;
        // Converted before it travels: a device has room for the result alone.
        let bytes = &map[entry.bytes.clone()];
        let tensor = match (entry.transposed, entry.shape.as_slice()) {
            (true, &[rows, columns]) => {
                Tensor::from_raw_buffer(bytes, found, &[columns, rows], &Device::Cpu)?.t()?.contiguous()?
            }
            _ => Tensor::from_raw_buffer(bytes, found, &entry.shape, &Device::Cpu)?,
        };
        Ok(tensor.to_dtype(dtype)?.to_device(device)?)
    }

    /// A tensor as `dtype` for good: read, or as it lies in the file, if it is of that type and the device the CPU. Then
    /// nothing is copied, and pages of the file that are used come into memory, where all processes share them; the file
    /// stays mapped for as long as the process runs. Its pages come with it.
    ///
    /// # Errors
    /// Those of [`Tensors::get`].
    pub fn lasting(&self, name: &str, device: &Device, dtype: DType) -> Result<(Tensor, Option<Pages>)> {
        let (entry, map) = self.entry(name)?;
        let fits = !entry.transposed
            && device.is_cpu()
            && dtype == DType::F32
            && entry.dtype == safetensors::Dtype::F32;
        match fits.then(|| mapped(map, entry)).flatten() {
            Some(tensor) => Ok((tensor?, Some(Pages { map: map.clone(), bytes: entry.bytes.clone() }))),
            None => Ok((self.get(name, device, dtype)?, None)),
        }
    }

    fn entry(&self, name: &str) -> Result<(&Entry, &Arc<Mmap>)> {
        match self.index.get(name) {
            Some(entry) => Ok((entry, &self.files[entry.file].1)),
            None => {
                let path = self.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
                Err(Error::Tensors { path, what: format!("there is no tensor {name}") })
            }
        }
    }
}

/// A mapped tensor's part of its file.
#[derive(Clone)]
pub struct Pages {
    map: Arc<Mmap>,
    bytes: Range<usize>,
}

impl Pages {
    /// Lets go of the memory that they take, if the system knows how; whoever reads them again has them read anew.
    pub fn release(&self) {
        #[cfg(unix)]
        // SAFETY: the file is mapped shared and read-only, so its pages hold nothing that is not in the file.
        unsafe {
            use memmap2::UncheckedAdvice::DontNeed;
            // Memory is not short because of a hint that is refused.
            let _ = self.map.unchecked_advise_range(DontNeed, self.bytes.start, self.bytes.len());
        }
    }
}

/// A tensor over its part of a file, if that is aligned and the CPU reads numbers as the file has them.
fn mapped(map: &Arc<Mmap>, entry: &Entry) -> Option<Result<Tensor>> {
    // SAFETY: every bit pattern is an f32.
    let (before, values, _) = unsafe { map[entry.bytes.clone()].align_to::<f32>() };
    let whole = before.is_empty() && values.len() == entry.shape.iter().product::<usize>();
    if cfg!(target_endian = "big") || !whole || values.is_empty() {
        return None;
    }
    // SAFETY: candle's storage on the CPU is a vector, and this one is not the allocator's. It must neither grow nor be
    // freed: nothing has it but a tensor, which does not grow, and a tensor that is never dropped keeps it, as a map that
    // is never dropped keeps the pages. They cannot be written to; weights that are trained are copies.
    let values = unsafe { Vec::from_raw_parts(values.as_ptr().cast_mut(), values.len(), values.len()) };
    let tensor = match Tensor::from_vec(values, entry.shape.as_slice(), &Device::Cpu) {
        Ok(tensor) => tensor,
        Err(error) => return Some(Err(error.into())),
    };
    std::mem::forget(tensor.clone());
    std::mem::forget(map.clone());
    Some(Ok(tensor))
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

/// The most problems that a message lists: no more than a screen has room for, with names that take two lines of it.
const MOST_LISTED: usize = 10;

/// A line for each problem, and the number of those that there is no room for.
pub fn listed(problems: &[String]) -> String {
    let mut lines: Vec<String> = problems.iter().take(MOST_LISTED).map(|p| format!("  - {p}")).collect();
    if problems.len() > MOST_LISTED {
        lines.push(format!("  and {} more", problems.len() - MOST_LISTED));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_problems_is_no_longer_than_a_screen() {
        let problems: Vec<String> = (1..=100).map(|i| format!("tensor {i}")).collect();
        assert_eq!(listed(&problems[..2]), "  - tensor 1\n  - tensor 2");
        assert_eq!(listed(&problems[..MOST_LISTED]).lines().count(), MOST_LISTED);
        let list = listed(&problems);
        assert_eq!(list.lines().count(), MOST_LISTED + 1);
        assert!(list.ends_with("  - tensor 10\n  and 90 more"), "{list}");
    }
}
