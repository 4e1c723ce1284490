//! Column: what a row's training took.

use crate::error::Result;
use crate::harness::experiment::{Better, Column};
use crate::study::sheet::Line;
use crate::study::stages::{Context, metric};

use super::pair_exactness::of_training;
use super::{Measure, Measured, Metric};

/// Seconds of training.
pub const SECONDS: Metric = Metric { id: metric::SECONDS, title: "time", unit: "s", better: Better::Less, decimals: 1 };

/// The time of the training.
#[derive(Clone, Copy, Debug)]
pub struct TrainingTime;

impl TrainingTime {
    /// The column's id.
    pub const ID: &'static str = "training";
}

impl Measure for TrainingTime {
    fn column(&self) -> Column {
        // Of other machines, and of other pairs, than the paper's.
        let title = "training time".into();
        Column { id: Self::ID.into(), title, stands_for: None, substitute: true, metrics: Vec::new() }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SECONDS]
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measured>> {
        of_training(line, seed, context)
    }
}
