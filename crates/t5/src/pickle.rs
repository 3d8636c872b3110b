//! What torch.save writes: a zip with a pickled dictionary and the bytes of each storage.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use candle_core::DType;
use candle_core::pickle::{Object, Stack, TensorInfo};
use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

use crate::{Error, Result};

/// A tensor of the file.
pub(crate) struct Pickled {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Its columns lie one after the other, not its rows.
    pub transposed: bool,
    /// Of the file.
    pub bytes: Range<usize>,
}

/// The tensors of a file's bytes.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Pickled>> {
    // candle's reader asserts what torch's files keep.
    catch_unwind(AssertUnwindSafe(|| parse(path, bytes))).unwrap_or_else(|_| {
        Err(Error::Tensors {
            path: path.to_path_buf(),
            what: format!("is no state_dict of torch.save; {SAVE}"),
        })
    })
}

/// The most bytes that names and places of tensors take: those of the largest models take a hundredth.
const MOST: u64 = 256 << 20;

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Pickled>> {
    let fail = |what: String| Error::Tensors { path: path.to_path_buf(), what };
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| {
        fail(
            "the file is cut short, or torch before 1.6 wrote it: fetch it again, or save the model as safetensors in \
             Python, with save_pretrained"
                .to_owned(),
        )
    })?;
    let named: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let pickle = named.iter().find(|name| name.ends_with("data.pkl"));
    let pickle = pickle.ok_or_else(|| fail("holds no data.pkl: it is not by torch.save".to_owned()))?;
    let mut text = Vec::new();
    let entry = zip.by_name(pickle).map_err(|error| fail(error.to_string()))?;
    entry.take(MOST).read_to_end(&mut text).map_err(Error::file(path))?;
    let mut stack = Stack::empty();
    let object = stack.read_loop(&mut text.as_slice()).and_then(|()| stack.finalize());
    let object = object.map_err(|error| fail(format!("data.pkl cannot be read: {error}")))?;
    let Object::Dict(items) = object else {
        return Err(fail("holds no dictionary of tensors".to_owned()));
    };
    let storages = Path::new(pickle.trim_end_matches(".pkl"));
    let mut found = Vec::new();
    for (key, value) in items {
        let name = key.clone().unicode().unwrap_or_default();
        let tensor = value.into_tensor_info(key, storages);
        let tensor = tensor.map_err(|error| fail(format!("{name}: {error}; {SAVE}")))?;
        if let Some(tensor) = tensor {
            found
                .push(locate(&mut zip, bytes.len(), tensor).map_err(|what| fail(format!("{name}: {what}")))?);
        }
    }
    if found.is_empty() {
        return Err(fail("holds no tensors by name: save the model's state_dict alone".to_owned()));
    }
    Ok(found)
}

const SAVE: &str = "save the model as safetensors in Python, with save_pretrained";

fn locate(zip: &mut ZipArchive<Cursor<&[u8]>>, length: usize, tensor: TensorInfo) -> Result<Pickled, String> {
    let dtype = match tensor.dtype {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        other => return Err(format!("is {other:?}; f32, bf16 and f16 are read; {SAVE}")),
    };
    let layout = &tensor.layout;
    let shape = layout.dims().to_vec();
    let transposed = !layout.is_contiguous();
    if transposed && !(shape.len() == 2 && layout.is_fortran_contiguous()) {
        return Err(format!("its values do not lie together; {SAVE}"));
    }
    let storage = zip.by_name(&tensor.path).map_err(|error| format!("{}: {error}", tensor.path))?;
    if storage.compression() != CompressionMethod::Stored {
        return Err(format!("is compressed; {SAVE}"));
    }
    let cut = || "lies past the file's end: fetch or write the file again".to_owned();
    let begin = storage.data_start().ok_or_else(cut)? as usize;
    // candle gives the offset in bytes.
    let count: Option<usize> = shape.iter().try_fold(1, |count: usize, &size| count.checked_mul(size));
    let size = count.and_then(|count| count.checked_mul(tensor.dtype.size_in_bytes())).ok_or_else(cut)?;
    let last = layout.start_offset().checked_add(size).filter(|&last| last as u64 <= storage.size());
    let end = last.and_then(|last| begin.checked_add(last)).filter(|&end| end <= length).ok_or_else(cut)?;
    Ok(Pickled { name: tensor.name, dtype, shape, transposed, bytes: end - size..end })
}
