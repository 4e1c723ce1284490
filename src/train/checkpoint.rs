//! Checkpoints of unfinished trainings on disk, as safetensors.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::methods::{Learner, State};
use crate::nn::Parameters;
use crate::optim::Optimizer;
use crate::tensor::{Cpu, Device};

use super::history::History;
use super::tensors::{Named, damaged, data, floats, parse, write};
use super::weights::{read_into, weights};

/// The position of a training.
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
    /// The total number of finished steps.
    pub fn steps_done(&self, steps_per_epoch: usize) -> usize {
        self.epoch * steps_per_epoch + self.step
    }
}

/// The only metadata key. With a single key, the file's bytes do not depend on the order of a map.
const POSITION: &str = "position";

/// Writes everything that a training needs to resume bit for bit.
///
/// # Errors
/// When the file cannot be written; an existing file then stays unchanged.
pub fn save(
    path: &Path,
    learner: &mut dyn Learner<Cpu>,
    optimizer: &Optimizer<Cpu>,
    position: &Position,
) -> Result<()> {
    let mut written = Written(network_and_optimizer(&learner.network().backbone().parameters(), optimizer));
    learner.state(&mut written)?;
    write_at(path, &written.0, optimizer, position)
}

/// As [`save`], for a network without a method: a detector.
///
/// # Errors
/// When the file cannot be written; an existing file then stays unchanged.
pub fn save_network(
    path: &Path,
    parameters: &Parameters<Cpu>,
    optimizer: &Optimizer<Cpu>,
    position: &impl Serialize,
) -> Result<()> {
    write_at(path, &network_and_optimizer(parameters, optimizer), optimizer, position)
}

fn network_and_optimizer(parameters: &Parameters<Cpu>, optimizer: &Optimizer<Cpu>) -> Vec<Named> {
    let mut named = weights(parameters, "");
    for (index, arena) in optimizer.state().1.iter().enumerate() {
        let host = parameters.device.host(arena);
        named.push(Named::floats(&format!("optimizer.{index}"), vec![arena.len()], &host));
    }
    named
}

fn write_at(path: &Path, named: &[Named], optimizer: &Optimizer<Cpu>, position: &impl Serialize) -> Result<()> {
    let meta = serde_json::to_string(&(optimizer.state().0, position)).context("cannot write the position as JSON")?;
    write(path, named, Some(HashMap::from([(POSITION.to_string(), meta)])))
}

/// Restores a training from the file that [`save`] wrote.
///
/// # Errors
/// When the file is missing, damaged, or belongs to another network.
pub fn load(path: &Path, learner: &mut dyn Learner<Cpu>, optimizer: &mut Optimizer<Cpu>) -> Result<Position> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    let file = parse(path, &bytes)?;
    let position = read_at(&bytes, path, &mut learner.network().backbone().parameters(), optimizer)?;
    learner.state(&mut Read { file: &file, path })?;
    Ok(position)
}

/// Restores what [`save_network`] wrote.
///
/// # Errors
/// When the file is missing, damaged, or belongs to another network.
pub fn load_network<P: DeserializeOwned>(
    path: &Path,
    parameters: &mut Parameters<Cpu>,
    optimizer: &mut Optimizer<Cpu>,
) -> Result<P> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    read_at(&bytes, path, parameters, optimizer)
}

/// Reads network, optimiser and position.
fn read_at<P: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    parameters: &mut Parameters<Cpu>,
    optimizer: &mut Optimizer<Cpu>,
) -> Result<P> {
    let file = parse(path, bytes)?;
    read_into(&file, path, "", parameters)?;
    let (device, count) = (parameters.device, parameters.count());
    let state = (0..optimizer.state().1.len())
        .map(|index| floats(&file, path, &format!("optimizer.{index}"), count))
        .map(|host| host.map(|host| device.arena(host)))
        .collect::<Result<Vec<_>>>()?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).context(path.display())?;
    let meta = metadata.metadata().as_ref().and_then(|map| map.get(POSITION)).ok_or_else(|| damaged(path))?;
    let (steps, position) = serde_json::from_str(meta).map_err(|_| damaged(path))?;
    optimizer.restore(steps, state);
    Ok(position)
}

/// Writes a method's state into a checkpoint. The names begin with `method.`; no parameter's name does.
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

/// Reads a method's state from a checkpoint.
struct Read<'a> {
    file: &'a SafeTensors<'a>,
    path: &'a Path,
}

impl State<Cpu> for Read<'_> {
    fn network(&mut self, name: &str, parameters: &mut Parameters<Cpu>) -> Result<()> {
        read_into(self.file, self.path, &format!("method.{name}."), parameters)
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

/// Removes a file that may be missing.
///
/// # Errors
/// When the file cannot be removed; the error names the file and the system's message.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).context(format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
