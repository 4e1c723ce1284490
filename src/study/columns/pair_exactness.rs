//! Column: how many of the pairs that a row was trained on are of one category.

use std::sync::Arc;

use crate::error::Result;
use crate::harness::experiment::{Better, Column};
use crate::study::sheet::Line;
use crate::study::stages::{self, Context, Representation, metric};

use super::{Measure, Measured, Metric};

/// The share of pairs whose images are of one category: a property of the pairs, no merit of the encoder.
pub const EXACT: Metric = Metric { id: metric::EXACT, title: "exact", unit: "", better: Better::Neither, decimals: 2 };

/// The pairs of the training.
#[derive(Clone, Copy, Debug)]
pub struct PairExactness;

impl Measure for PairExactness {
    fn column(&self) -> Column {
        Column { id: "pairs".into(), title: "pairs".into(), stands_for: None, substitute: true, metrics: Vec::new() }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[EXACT]
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measured>> {
        of_training(line, seed, context)
    }
}

/// The cell of a row's training alone; none where it has none.
pub(super) fn of_training(line: &Line, seed: u64, context: &Context) -> Result<Option<Measured>> {
    let Representation::Pretrained(kind) = line.what else { return Ok(None) };
    let training = stages::training(context, &line.settings, kind, seed)?;
    let cell = training.factors.iter().chain([&training.stage]).cloned().collect();
    Ok(Some(Measured { stages: cell, read: Arc::new(move |done| training.outcome(done)) }))
}
