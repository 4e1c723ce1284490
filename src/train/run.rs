//! One pretraining as a value, and the network that it begins with.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::methods::Method;
use crate::models::{self, Backbone, ModelSpec};
use crate::optim::{OptimizerSettings, ScheduleSettings};
use crate::rng::Key;
use crate::tensor::{Cpu, Precision};

/// What all methods' trainings have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSettings {
    /// Pairs of a step; a last batch with fewer is left out.
    pub batch: usize,
    /// Whether the encoder is kept as it is at each moment at which health is measured, too.
    #[serde(default)]
    pub snapshots: bool,
}

/// One pretraining, whole: with the pairs' hash and what computes (device, instruction set, precision) it determines
/// the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pretraining {
    /// The network.
    pub model: ModelSpec,
    /// The method.
    pub method: Method,
    /// Batch, and what is kept.
    pub pretrain: PretrainSettings,
    /// What all methods' optimisers have in common.
    pub optimizer: OptimizerSettings,
    /// The learning rate's course.
    pub schedule: ScheduleSettings,
    /// Initialisation, order and augmentation descend from it.
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

/// The encoder of a run before its first step: the random baseline, too. Its parameters do not depend on `precision`.
///
/// # Errors
/// When no encoder was built for the image size.
pub fn initial(model: &ModelSpec, precision: Precision, seed: u64) -> Result<Backbone<Cpu>> {
    models::open(model, &Cpu { precision }, key(seed).split("initialisation"))
}
