//! Networks and unfinished trainings on disk, as safetensors. Each parameter is a tensor of its own name; kernels lie
//! as in memory, (O, K, K, I). Equal networks give equal bytes.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::methods::{Learner, State};
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
    write(path, &weights(parameters, ""), None)
}

/// Reads values and running statistics into a network of the same layout.
///
/// # Errors
/// When the file is missing, broken, or of another network.
pub fn load_weights(path: &Path, parameters: &mut Parameters<Cpu>) -> Result<()> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    Read { file: &parse(path, &bytes)?, path }.parameters("", parameters)
}

/// Writes all that a training needs to go on bit for bit.
///
/// # Errors
/// As [`save_weights`].
pub fn save(
    path: &Path,
    learner: &mut dyn Learner<Cpu>,
    optimizer: &Optimizer<Cpu>,
    position: &Position,
) -> Result<()> {
    let (steps, state) = optimizer.state();
    let mut written = Written(weights(&learner.network().backbone().parameters(), ""));
    let device = learner.network().backbone().read().device;
    for (index, arena) in state.iter().enumerate() {
        written.0.push(Named::floats(&format!("optimizer.{index}"), vec![arena.len()], &device.host(arena)));
    }
    learner.state(&mut written)?;
    let meta = serde_json::to_string(&(steps, position)).context("the position is not JSON")?;
    write(path, &written.0, Some(HashMap::from([(POSITION.to_string(), meta)])))
}

/// Takes up a training where [`save`] left it.
///
/// # Errors
/// As [`load_weights`].
pub fn load(path: &Path, learner: &mut dyn Learner<Cpu>, optimizer: &mut Optimizer<Cpu>) -> Result<Position> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    let file = parse(path, &bytes)?;
    let mut read = Read { file: &file, path };
    read.parameters("", &mut learner.network().backbone().parameters())?;
    let (device, count) = {
        let parameters = learner.network().backbone().read();
        (parameters.device, parameters.count())
    };
    let state = (0..optimizer.state().1.len())
        .map(|index| floats(&file, path, &format!("optimizer.{index}"), count))
        .map(|host| host.map(|host| device.arena(host)))
        .collect::<Result<Vec<_>>>()?;
    learner.state(&mut read)?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).context(path.display())?;
    let meta = metadata.metadata().as_ref().and_then(|map| map.get(POSITION)).ok_or_else(|| damaged(path))?;
    let (steps, position) = serde_json::from_str(meta).map_err(|_| damaged(path))?;
    optimizer.restore(steps, state);
    Ok(position)
}

/// A method's state on its way into a checkpoint. Names begin with `method.`, which no parameter's does.
struct Written(Vec<Named>);

impl State<Cpu> for Written {
    fn network(&mut self, name: &str, parameters: &mut Parameters<Cpu>) -> Result<()> {
        self.0.extend(weights(parameters, &format!("method.{name}.")));
        Ok(())
    }

    fn floats(&mut self, name: &str, values: &mut [f32]) -> Result<()> {
        self.0.push(Named::floats(&format!("method.{name}"), vec![values.len()], values));
        Ok(())
    }

    fn counts(&mut self, name: &str, values: &mut [u64]) -> Result<()> {
        self.0.push(Named::counts(&format!("method.{name}"), values));
        Ok(())
    }
}

/// A checkpoint on its way into a method's state.
struct Read<'a> {
    file: &'a SafeTensors<'a>,
    path: &'a Path,
}

impl State<Cpu> for Read<'_> {
    fn network(&mut self, name: &str, parameters: &mut Parameters<Cpu>) -> Result<()> {
        self.parameters(&format!("method.{name}."), parameters)
    }

    fn floats(&mut self, name: &str, values: &mut [f32]) -> Result<()> {
        values.copy_from_slice(&floats(self.file, self.path, &format!("method.{name}"), values.len())?);
        Ok(())
    }

    fn counts(&mut self, name: &str, values: &mut [u64]) -> Result<()> {
        let name = format!("method.{name}");
        let data = data(self.file, self.path, &name, Dtype::U64, 8 * values.len())?;
        for (value, bytes) in values.iter_mut().zip(data.as_chunks::<8>().0) {
            *value = u64::from_le_bytes(*bytes);
        }
        Ok(())
    }
}

impl Read<'_> {
    /// Values and running statistics whose names begin with `prefix`.
    fn parameters(&self, prefix: &str, parameters: &mut Parameters<Cpu>) -> Result<()> {
        let device = parameters.device;
        let mut values = device.host(&parameters.values);
        let mut statistics = device.host(&parameters.statistics);
        for entry in &parameters.layout.entries {
            let arena = if entry.kind == Kind::Statistic { &mut statistics } else { &mut values };
            let read = floats(self.file, self.path, &format!("{prefix}{}", entry.name), entry.slot.len)?;
            arena[entry.slot.start..][..entry.slot.len].copy_from_slice(&read);
        }
        parameters.values = device.arena(values);
        parameters.statistics = device.arena(statistics);
        Ok(())
    }
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

    fn counts(name: &str, values: &[u64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: name.into(), dtype: Dtype::U64, shape: vec![values.len()], bytes }
    }
}

/// Values and running statistics, each name behind `prefix`.
fn weights(parameters: &Parameters<Cpu>, prefix: &str) -> Vec<Named> {
    let values = parameters.device.host(&parameters.values);
    let statistics = parameters.device.host(&parameters.statistics);
    let tensor = |entry: &Entry| {
        let arena = if entry.kind == Kind::Statistic { &statistics } else { &values };
        let data = &arena[entry.slot.start..][..entry.slot.len];
        Named::floats(&format!("{prefix}{}", entry.name), memory_shape(entry), data)
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

fn parse<'b>(path: &Path, bytes: &'b [u8]) -> Result<SafeTensors<'b>> {
    SafeTensors::deserialize(bytes).map_err(|_| damaged(path))
}

/// The floats of a named tensor of `len` elements.
///
/// # Errors
/// When it is missing or of another size or type.
pub fn floats(file: &SafeTensors<'_>, path: &Path, name: &str, len: usize) -> Result<Vec<f32>> {
    let data = data(file, path, name, Dtype::F32, 4 * len)?;
    Ok(data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// The bytes of a named tensor.
fn data<'b>(file: &SafeTensors<'b>, path: &Path, name: &str, dtype: Dtype, bytes: usize) -> Result<&'b [u8]> {
    let tensor = file.tensor(name).map_err(|_| damaged(path))?;
    let data = tensor.data();
    if tensor.dtype() != dtype || data.len() != bytes {
        return Err(Error::new(format!("{}: `{name}` holds {} bytes, not {bytes}", path.display(), data.len()))
            .hint("it belongs to another network; remove it and run the command again"));
    }
    Ok(data)
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
        .map(|t| Ok((&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).context(&t.name)?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(views, metadata).context(format!("cannot write {}", path.display()))?;
    files::write_whole(path, &bytes)
}
