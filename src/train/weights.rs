//! Networks in files. Each parameter is a tensor with its own name; kernels are stored as in memory, (O, K, K, I).
//! Equal networks give equal bytes.

use std::path::Path;

use safetensors::SafeTensors;

use crate::error::{Context, Result};
use crate::nn::{Entry, ParamKind, Parameters};
use crate::tensor::{AnyDevice, Device};

use super::tensors::{Named, floats, parse, write};

/// File of a finished encoder in its stage's folder.
pub const ENCODER: &str = "encoder.safetensors";

/// The file name of the encoder's snapshot after `epoch` epochs, kept with
/// [`PretrainSettings::snapshots`](super::PretrainSettings::snapshots).
pub fn snapshot(epoch: usize) -> String {
    format!("encoder-{epoch}.safetensors")
}

/// Writes values and running statistics.
///
/// # Errors
/// When the file cannot be written; an existing file then stays unchanged.
pub fn save_weights(path: &Path, parameters: &Parameters<AnyDevice>) -> Result<()> {
    write(path, &weights(parameters, ""), None)
}

/// Reads values and running statistics into a network of the same layout.
///
/// # Errors
/// When the file is missing, damaged, or belongs to another network.
pub fn load_weights(path: &Path, parameters: &mut Parameters<AnyDevice>) -> Result<()> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    read_into(&parse(path, &bytes)?, path, "", parameters)
}

/// As [`load_weights`], into a network that has further parameters, whose names begin with `own`: a detector. These stay
/// as they are.
///
/// # Errors
/// As [`load_weights`].
pub fn load_encoder(path: &Path, own: &str, parameters: &mut Parameters<AnyDevice>) -> Result<()> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    read_those(&parse(path, &bytes)?, path, "", parameters, |entry| !entry.name.starts_with(own))
}

/// Reads values and running statistics whose names begin with `prefix` from a file.
pub(super) fn read_into(
    file: &SafeTensors<'_>,
    path: &Path,
    prefix: &str,
    parameters: &mut Parameters<AnyDevice>,
) -> Result<()> {
    read_those(file, path, prefix, parameters, |_| true)
}

/// As [`read_into`], for some of the parameters.
fn read_those(
    file: &SafeTensors<'_>,
    path: &Path,
    prefix: &str,
    parameters: &mut Parameters<AnyDevice>,
    is_read: impl Fn(&Entry) -> bool,
) -> Result<()> {
    let device = &parameters.device;
    let mut values = device.host(&parameters.values);
    let mut statistics = device.host(&parameters.statistics);
    for entry in parameters.layout.entries.iter().filter(|&entry| is_read(entry)) {
        let arena = if entry.kind == ParamKind::Statistic { &mut statistics } else { &mut values };
        let read = floats(file, path, &format!("{prefix}{}", entry.name), entry.slot.len)?;
        arena[entry.slot.start..][..entry.slot.len].copy_from_slice(&read);
    }
    parameters.values = device.arena(values);
    parameters.statistics = device.arena(statistics);
    Ok(())
}

/// Values and running statistics, with `prefix` before each name.
pub(super) fn weights(parameters: &Parameters<AnyDevice>, prefix: &str) -> Vec<Named> {
    let values = parameters.device.host(&parameters.values);
    let statistics = parameters.device.host(&parameters.statistics);
    let tensor = |entry: &Entry| {
        let arena = if entry.kind == ParamKind::Statistic { &statistics } else { &values };
        let data = &arena[entry.slot.start..][..entry.slot.len];
        Named::floats(&format!("{prefix}{}", entry.name), memory_shape(entry), data)
    };
    parameters.layout.entries.iter().map(tensor).collect()
}

/// The shape in memory: kernels (O, I, K, K) are stored channels-last.
fn memory_shape(entry: &Entry) -> Vec<usize> {
    match entry.shape[..] {
        [o, i, h, w] => vec![o, h, w, i],
        ref other => other.to_vec(),
    }
}
