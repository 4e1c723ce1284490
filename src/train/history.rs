//! The record that a training leaves next to its encoder.

use serde::{Deserialize, Serialize};

use crate::eval::Health;

/// File of the training curves in its stage's folder.
pub const HISTORY: &str = "history.json";
/// About how many times a training's health is measured.
pub const MOMENTS: usize = 10;

/// The record that a training leaves next to its encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Mean loss of each epoch.
    pub losses: Vec<f64>,
    /// Total seconds of training, including all resumed parts.
    pub seconds: f64,
    /// Seconds of these during which a step waited for its batch.
    pub waited: f64,
    /// The health of the representation, at about ten moments.
    pub health: Vec<Health>,
    /// Seconds of training up to each of these moments.
    #[serde(default)]
    pub times: Vec<f64>,
}
