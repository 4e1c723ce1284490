//! One pretraining as a value, and its initial network.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::methods::Method;
use crate::models::{self, Backbone, ModelSpec};
use crate::optim::{OptimizerSettings, ScheduleSettings};
use crate::rng::Key;
use crate::tensor::AnyDevice;

/// The training settings that all methods share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSettings {
    /// Pairs per step; an incomplete last batch is dropped.
    pub batch: usize,
    /// Whether a snapshot of the encoder is also kept each time health is measured.
    #[serde(default)]
    pub snapshots: bool,
}

/// All settings of one pretraining. Together with the pairs' hash and the compute environment (device, instruction
/// set, precision) they determine the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pretraining {
    /// The network.
    pub model: ModelSpec,
    /// The method.
    pub method: Method,
    /// The batch size, and whether snapshots are kept.
    pub pretrain: PretrainSettings,
    /// The optimiser settings that all methods share.
    pub optimizer: OptimizerSettings,
    /// The learning-rate schedule.
    pub schedule: ScheduleSettings,
    /// The seed of initialisation, order and augmentation.
    pub seed: u64,
}

impl Pretraining {
    /// Passes over the pairs.
    pub fn epochs(&self) -> usize {
        self.method.recipe().epochs
    }
}

/// The key of everything random in a run.
pub(super) fn key(seed: u64) -> Key {
    Key::root(seed)
}

/// Returns the encoder of a run before its first step, which is also the random baseline. Its parameters do not
/// depend on the device.
///
/// # Errors
/// When there is no encoder for the image size.
pub fn initial(model: &ModelSpec, device: &AnyDevice, seed: u64) -> Result<Backbone<AnyDevice>> {
    models::open(model, device, key(seed).split("initialisation"))
}
