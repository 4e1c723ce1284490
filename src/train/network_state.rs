//! A network in training on disk: its parameters, its optimiser's state, and a position, as safetensors.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Result};
use crate::nn::Parameters;
use crate::optim::Optimizer;
use crate::tensor::{AnyDevice, Device};

use super::tensors::{Named, damaged, floats, parse, write};
use super::weights::{read_into, weights};

/// The only metadata key. With a single key, the file's bytes do not depend on the order of a map.
const POSITION: &str = "position";

/// Writes a network with its optimiser and a position.
///
/// # Errors
/// When the file cannot be written; an existing file then stays unchanged.
pub(super) fn save_network(
    path: &Path,
    parameters: &Parameters<AnyDevice>,
    optimizer: &Optimizer<AnyDevice>,
    position: &impl Serialize,
) -> Result<()> {
    write_at(path, &network_and_optimizer(parameters, optimizer), optimizer, position)
}

/// The tensors of a network and of its optimiser.
pub(super) fn network_and_optimizer(
    parameters: &Parameters<AnyDevice>,
    optimizer: &Optimizer<AnyDevice>,
) -> Vec<Named> {
    let mut named = weights(parameters, "");
    for (index, arena) in optimizer.state().1.iter().enumerate() {
        let host = parameters.device.host(arena);
        named.push(Named::floats(&format!("optimizer.{index}"), vec![host.len()], &host));
    }
    named
}

/// Writes tensors with the optimiser's number of steps and a position.
pub(super) fn write_at(
    path: &Path,
    named: &[Named],
    optimizer: &Optimizer<AnyDevice>,
    position: &impl Serialize,
) -> Result<()> {
    let meta = serde_json::to_string(&(optimizer.state().0, position)).context("cannot write the position as JSON")?;
    write(path, named, Some(HashMap::from([(POSITION.to_string(), meta)])))
}

/// Restores what [`save_network`] wrote.
///
/// # Errors
/// When the file is missing, damaged, or belongs to another network.
pub(super) fn load_network<P: DeserializeOwned>(
    path: &Path,
    parameters: &mut Parameters<AnyDevice>,
    optimizer: &mut Optimizer<AnyDevice>,
) -> Result<P> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    read_at(&bytes, path, parameters, optimizer)
}

/// Reads network, optimiser and position.
pub(super) fn read_at<P: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    parameters: &mut Parameters<AnyDevice>,
    optimizer: &mut Optimizer<AnyDevice>,
) -> Result<P> {
    let file = parse(path, bytes)?;
    read_into(&file, path, "", parameters)?;
    let (device, count) = (parameters.device.clone(), parameters.count());
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

/// Removes a file that may be missing.
///
/// # Errors
/// When the file cannot be removed; the error names the file and the system's message.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).context(format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
