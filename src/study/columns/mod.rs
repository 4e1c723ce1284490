//! Columns of a table of encoders, with one file for each: what is measured for a row, by which
//! stages, and how it is shown.

mod detection;
mod nuisance;
mod pair_exactness;
mod set;
mod time_to_equal;
mod training_time;

use std::sync::Arc;

use crate::error::Result;
use crate::harness::code::Code;
use crate::harness::experiment::{Better, Column, Measurement, MetricInfo};

use super::code::code;
use super::line::Line;
use super::stages::Context;

pub use detection::{AVERAGE_PRECISION, DetectedOn, KINDS, VOC};
pub use nuisance::{COSINE, Varied};
pub use pair_exactness::{EXACT, PairExactness};
pub use set::{KNN, OnSet, TOP1, title_of_set};
pub use time_to_equal::TimeToEqual;
pub use training_time::{SECONDS, TrainingTime, training_alone};

/// A measurement that is made for each row.
pub trait Measure: Send + Sync {
    /// The column's id, its title, and the paper's column that it is or stands for.
    fn column(&self) -> Column;

    /// The metrics that it measures, in the order in which they are shown.
    fn metrics(&self) -> &'static [Metric];

    /// The evaluation set that it needs.
    fn set(&self) -> Option<&str> {
        None
    }

    /// The stages of a row's cell, and what is read from their files; `None` where the row has no such cell.
    ///
    /// # Errors
    /// When data are missing, or settings are incompatible.
    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>>;
}

/// The code that reads a cell's files: these modules, and the module for trainings if the cell has a training.
fn code_of(readings: &[&str], with_training: bool) -> Code {
    let training = with_training.then_some("study::readings::training");
    code(&readings.iter().copied().chain(training).collect::<Vec<_>>())
}

/// A quantity, and how reports show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Such as `top1`.
    pub id: &'static str,
    /// Such as `linear`.
    pub title: &'static str,
    /// Such as `%`.
    pub unit: &'static str,
    /// Whether higher or lower values are better.
    pub better: Better,
    /// The number of decimals if it is above 1; otherwise the unit decides.
    pub decimals: usize,
}

impl Metric {
    /// The metric in the form that tables hold.
    pub fn info(&self) -> MetricInfo {
        let Self { id, title, unit, better, decimals } = *self;
        MetricInfo { id: id.into(), title: title.into(), unit: unit.into(), better, decimals }
    }
}

/// The metrics of all columns, without repeats. A new metric is inserted before the first metric in the result that
/// comes after it in its own column. So each column keeps its order, unless the columns contradict each other.
pub fn merged(columns: &[Arc<dyn Measure>]) -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    for metrics in columns.iter().map(|column| column.metrics()) {
        for (at, metric) in metrics.iter().enumerate() {
            if all.contains(metric) {
                continue;
            }
            let later = metrics[at + 1..].iter().filter_map(|later| all.iter().position(|other| other == later));
            let place = later.min().unwrap_or(all.len());
            all.insert(place, *metric);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::world::Nuisance;

    #[test]
    fn metrics_keep_the_order_of_every_column() {
        let set: Arc<dyn Measure> = Arc::new(OnSet::new("synth-10"));
        let varied: Arc<dyn Measure> = Arc::new(Varied { set: "synth-10".into(), nuisance: Nuisance::ALL[0] });
        let ids = |columns: &[&Arc<dyn Measure>]| {
            let columns: Vec<_> = columns.iter().map(|&column| column.clone()).collect();
            merged(&columns).iter().map(|metric| metric.id).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ids(&[&set]), "top1 knn");
        assert_eq!(ids(&[&set, &varied]), "cosine top1 knn");
        assert_eq!(ids(&[&varied, &set]), "cosine top1 knn");
        let time: Arc<dyn Measure> = Arc::new(TrainingTime);
        assert_eq!(ids(&[&set, &time, &varied]), "cosine top1 knn seconds");
    }
}
