//! Checkpoints of unfinished trainings on disk, as safetensors.

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::methods::{Learner, State};
use crate::nn::Parameters;
use crate::optim::Optimizer;
use crate::tensor::AnyDevice;

use super::history::History;
use super::network_state::{network_and_optimizer, read_at, write_at};
use super::tensors::{Named, data, floats, parse};
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

/// Writes everything that a training needs to resume bit for bit.
///
/// # Errors
/// When the file cannot be written; an existing file then stays unchanged.
pub fn save(
    path: &Path,
    learner: &mut dyn Learner<AnyDevice>,
    optimizer: &Optimizer<AnyDevice>,
    position: &Position,
) -> Result<()> {
    let mut written = Written(network_and_optimizer(&learner.network().backbone().parameters(), optimizer));
    learner.state(&mut written)?;
    write_at(path, &written.0, optimizer, position)
}

/// Restores a training from the file that [`save`] wrote.
///
/// # Errors
/// When the file is missing, damaged, or belongs to another network.
pub fn load(
    path: &Path,
    learner: &mut dyn Learner<AnyDevice>,
    optimizer: &mut Optimizer<AnyDevice>,
) -> Result<Position> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    let file = parse(path, &bytes)?;
    let position = read_at(&bytes, path, &mut learner.network().backbone().parameters(), optimizer)?;
    learner.state(&mut Read { file: &file, path })?;
    Ok(position)
}

/// Writes a method's state into a checkpoint. The names begin with `method.`; no parameter's name does.
struct Written(Vec<Named>);

impl State<AnyDevice> for Written {
    fn network(&mut self, name: &str, parameters: &mut Parameters<AnyDevice>) -> Result<()> {
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

impl State<AnyDevice> for Read<'_> {
    fn network(&mut self, name: &str, parameters: &mut Parameters<AnyDevice>) -> Result<()> {
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
