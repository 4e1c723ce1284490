//! Tensors in files, as safetensors. Equal tensors give equal bytes.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Context, Error, Result};
use crate::files;

/// A tensor to write.
pub struct Named {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Named {
    /// A tensor of floats.
    pub fn floats(name: &str, shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: name.into(), dtype: Dtype::F32, shape, bytes }
    }

    /// A tensor of whole numbers.
    pub(super) fn counts(name: &str, values: &[u64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: name.into(), dtype: Dtype::U64, shape: vec![values.len()], bytes }
    }
}

pub(super) fn parse<'b>(path: &Path, bytes: &'b [u8]) -> Result<SafeTensors<'b>> {
    SafeTensors::deserialize(bytes).map_err(|_| damaged(path))
}

/// The floats of a named tensor of `len` elements.
///
/// # Errors
/// When the tensor is missing, or has another size or type.
pub fn floats(file: &SafeTensors<'_>, path: &Path, name: &str, len: usize) -> Result<Vec<f32>> {
    let data = data(file, path, name, Dtype::F32, 4 * len)?;
    Ok(data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// The bytes of a named tensor.
pub(super) fn data<'b>(
    file: &SafeTensors<'b>,
    path: &Path,
    name: &str,
    dtype: Dtype,
    bytes: usize,
) -> Result<&'b [u8]> {
    let tensor = file.tensor(name).map_err(|_| damaged(path))?;
    let data = tensor.data();
    if tensor.dtype() != dtype || data.len() != bytes {
        return Err(Error::new(format!("{}: `{name}` holds {} bytes, not {bytes}", path.display(), data.len()))
            .hint("it belongs to another network; remove it and run the command again"));
    }
    Ok(data)
}

pub(super) fn damaged(path: &Path) -> Error {
    Error::new(format!("{} is damaged or belongs to another network", path.display()))
        .hint("remove it and run the command again; training then starts from the beginning")
}

/// Writes tensors as one safetensors file, either completely or not at all.
///
/// # Errors
/// When the file cannot be written; an existing file then stays unchanged.
pub fn write(path: &Path, tensors: &[Named], metadata: Option<HashMap<String, String>>) -> Result<()> {
    let views = tensors
        .iter()
        .map(|t| Ok((&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).context(&t.name)?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(views, metadata).context(format!("cannot write {}", path.display()))?;
    files::write_whole(path, &bytes)
}
