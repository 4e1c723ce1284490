//! Networks and unfinished trainings on disk, as safetensors. Each parameter is a tensor of its own name; kernels lie
//! as in memory, (O, K, K, I). Equal networks give equal bytes.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::nn::{Entry, Kind, Parameters};
use crate::optim::Optimizer;
use crate::tensor::{Cpu, Device};

use super::History;

/// Where a training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Finished epochs.
    pub epoch: usize,
    /// Finished steps of the current epoch.
    pub step: usize,
    /// Sum of this epoch's losses so far.
    pub loss_sum: f64,
    /// What has been recorded so far.
    pub history: History,
}

impl Position {
    /// Finished steps in all.
    pub fn steps_done(&self, steps_per_epoch: usize) -> usize {
        self.epoch * steps_per_epoch + self.step
    }
}

/// The only metadata key: with one, the file's bytes do not depend on a map's order.
const POSITION: &str = "position";

/// Writes values and running statistics.
///
/// # Errors
/// When the file cannot be written; what stood there before stays.
pub fn save_weights(path: &Path, parameters: &Parameters<Cpu>) -> Result<()> {
    write(path, &weights(parameters), None)
}

/// Reads values and running statistics into a network of the same layout.
///
/// # Errors
/// When the file is missing, broken, or of another network.
pub fn load_weights(path: &Path, parameters: &mut Parameters<Cpu>) -> Result<()> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    read_weights(&parse(path, &bytes)?, path, parameters)
}

/// Writes all that a training needs to go on bit for bit.
///
/// # Errors
/// As [`save_weights`].
pub fn save(path: &Path, parameters: &Parameters<Cpu>, optimizer: &Optimizer<Cpu>, position: &Position) -> Result<()> {
    let (steps, state) = optimizer.state();
    let mut tensors = weights(parameters);
    for (index, arena) in state.iter().enumerate() {
        tensors.push(Named::floats(&format!("optimizer.{index}"), vec![arena.len()], &parameters.device.host(arena)));
    }
    let meta = serde_json::to_string(&(steps, position)).context("the position is not JSON")?;
    write(path, &tensors, Some(HashMap::from([(POSITION.to_string(), meta)])))
}

/// Takes up a training where [`save`] left it.
///
/// # Errors
/// As [`load_weights`].
pub fn load(path: &Path, parameters: &mut Parameters<Cpu>, optimizer: &mut Optimizer<Cpu>) -> Result<Position> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    let file = parse(path, &bytes)?;
    read_weights(&file, path, parameters)?;
    let state = (0..optimizer.state().1.len())
        .map(|index| floats(&file, path, &format!("optimizer.{index}"), parameters.count()))
        .map(|host| host.map(|host| parameters.device.arena(host)))
        .collect::<Result<Vec<_>>>()?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).context(path.display())?;
    let meta = metadata.metadata().as_ref().and_then(|map| map.get(POSITION)).ok_or_else(|| damaged(path))?;
    let (steps, position) = serde_json::from_str(meta).map_err(|_| damaged(path))?;
    optimizer.restore(steps, state);
    Ok(position)
}

/// Removes a file that may be missing.
///
/// # Errors
/// Names the file and what the system said.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).context(format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A tensor to write.
pub struct Named {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Named {
    /// A tensor of floats.
    pub fn floats(name: &str, shape: Vec<usize>, values: &[f32]) -> Self {
        Self { name: name.into(), shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

fn weights(parameters: &Parameters<Cpu>) -> Vec<Named> {
    let values = parameters.device.host(&parameters.values);
    let statistics = parameters.device.host(&parameters.statistics);
    let tensor = |entry: &Entry| {
        let arena = if entry.kind == Kind::Statistic { &statistics } else { &values };
        let data = &arena[entry.slot.start..][..entry.slot.len];
        Named::floats(&entry.name, memory_shape(entry), data)
    };
    parameters.layout.entries.iter().map(tensor).collect()
}

/// Kernels (O, I, K, K) lie channels-last.
fn memory_shape(entry: &Entry) -> Vec<usize> {
    match entry.shape[..] {
        [o, i, h, w] => vec![o, h, w, i],
        ref other => other.to_vec(),
    }
}

fn read_weights(file: &SafeTensors<'_>, path: &Path, parameters: &mut Parameters<Cpu>) -> Result<()> {
    let device = parameters.device;
    let mut values = device.host(&parameters.values);
    let mut statistics = device.host(&parameters.statistics);
    for entry in &parameters.layout.entries {
        let arena = if entry.kind == Kind::Statistic { &mut statistics } else { &mut values };
        let read = floats(file, path, &entry.name, entry.slot.len)?;
        arena[entry.slot.start..][..entry.slot.len].copy_from_slice(&read);
    }
    parameters.values = device.arena(values);
    parameters.statistics = device.arena(statistics);
    Ok(())
}

fn parse<'b>(path: &Path, bytes: &'b [u8]) -> Result<SafeTensors<'b>> {
    SafeTensors::deserialize(bytes).map_err(|_| damaged(path))
}

/// The floats of a named tensor of `len` elements.
///
/// # Errors
/// When it is missing or of another size or type.
pub fn floats(file: &SafeTensors<'_>, path: &Path, name: &str, len: usize) -> Result<Vec<f32>> {
    let tensor = file.tensor(name).map_err(|_| damaged(path))?;
    let data = tensor.data();
    if tensor.dtype() != Dtype::F32 || data.len() != 4 * len {
        return Err(Error::new(format!("{}: `{name}` holds {} bytes, not {}", path.display(), data.len(), 4 * len))
            .hint("it belongs to another network; remove it and run the command again"));
    }
    Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn damaged(path: &Path) -> Error {
    Error::new(format!("{} is damaged or of another network", path.display()))
        .hint("remove it and run the command again; training then starts from the beginning")
}

/// Writes tensors as one safetensors file, whole or not at all.
///
/// # Errors
/// As [`save_weights`].
pub fn write(path: &Path, tensors: &[Named], metadata: Option<HashMap<String, String>>) -> Result<()> {
    let views = tensors
        .iter()
        .map(|t| Ok((&t.name, TensorView::new(Dtype::F32, t.shape.clone(), &t.bytes).context(&t.name)?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(views, metadata).context(format!("cannot write {}", path.display()))?;
    files::write_whole(path, &bytes)
}
