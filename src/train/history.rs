//! What a training left beside its encoder.

use serde::{Deserialize, Serialize};

use crate::eval::Health;

/// File of the training curves in its stage's folder.
pub const HISTORY: &str = "history.json";
/// About how often a training's health is measured.
pub const MOMENTS: usize = 10;

/// What a training left beside its encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Mean loss of each epoch.
    pub losses: Vec<f64>,
    /// Seconds of training in all, over every resumption.
    pub seconds: f64,
    /// Seconds of these in which a step waited for its batch.
    pub waited: f64,
    /// The health of the representation, at about ten moments.
    pub health: Vec<Health>,
    /// Seconds of training up to each of these.
    #[serde(default)]
    pub times: Vec<f64>,
}
