//! Column: the share of a row's training pairs whose two images are of one category.

use crate::error::Result;
use crate::harness::experiment::{Better, Column, Measurement};
use crate::study::line::Line;
use crate::study::stages::{Context, metric};

use super::training_time::of_training;
use super::{Measure, Metric};

/// The share of pairs whose images are of one category. It is a property of the pairs, not a quality of the encoder.
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

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
        of_training(line, seed, context)
    }
}
