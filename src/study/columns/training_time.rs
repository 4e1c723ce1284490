//! Column: the time of a row's training.

use std::sync::Arc;

use crate::error::Result;
use crate::harness::experiment::{Better, Column, Measurement};
use crate::study::line::Line;
use crate::study::readings;
use crate::study::stages::{self, Context, Representation, Training, metric};

use super::{Measure, Metric, code_of};

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
        // The times come from other machines and other pairs than the paper's.
        let title = "training time".into();
        Column { id: Self::ID.into(), title, stands_for: None, substitute: true, metrics: Vec::new() }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SECONDS]
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
        let alone = of_training(line, seed, context)?;
        Ok(alone.map(|measurement| Measurement { timed: true, ..measurement }))
    }
}

/// The cell of a row's training alone; `None` where the row has no training.
pub(super) fn of_training(line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
    let Representation::Pretrained(kind) = line.what else { return Ok(None) };
    let training = stages::training(context, &line.settings, kind, seed)?;
    Ok(Some(training_alone(training)))
}

/// The measurement of a training alone, without an evaluation.
pub fn training_alone(training: Training) -> Measurement {
    let (stages, beside) = (vec![training.stage.clone()], training.factors.iter().cloned().collect());
    let read = Arc::new(move |done: &_| readings::training::alone(&training, done));
    Measurement { stages, beside, timed: false, code: code_of(&[], true), read }
}
