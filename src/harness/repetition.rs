//! Compares recorded runs with their repetitions.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::harness::record::FileHash;
use crate::harness::record::Record;
use crate::harness::record::Row;
use crate::harness::record::StageUse;

/// How a repetition agrees with its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agreement {
    /// All figures have the same bits, and so have the encoder, the predictions and the files of all stages, as far as
    /// the record states their hashes.
    Identical,
    /// As identical, but for times, which differ between any two runs.
    SameButTimes,
    /// No figure differs by more than the tolerance.
    WithinTolerance,
    /// Over the seeds of the row, the mean difference is within the margin (two one-sided t tests, p < 0.05).
    Equivalent,
    /// The record states only times.
    NothingToCompare,
    /// None of these.
    Different,
    /// The repetition has no result.
    NotRepeated,
}

/// A run with its repetition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Repetition {
    /// The labels of the run's row.
    pub row: Row,
    /// The column's id.
    pub column: String,
    /// The run's seed.
    pub seed: u64,
    /// The id of the recorded run.
    pub run: String,
    /// How well they agree.
    pub agreement: Agreement,
    /// Each metric of both, by id: the recorded value and the repeated one.
    pub metrics: BTreeMap<String, [f64; 2]>,
    /// Whether the repetition has all metrics of the run.
    #[serde(skip)]
    pub complete: bool,
    /// The first stage at which they part; `None` if they do not, or if the record has no stages.
    pub parted: Option<Parted>,
}

/// The first stage whose files differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parted {
    /// The stage's name, such as `pretrain`.
    pub stage: String,
    /// Whether the stage's key is the same: then code, inputs and compute are the same, and the files should be.
    pub same_key: bool,
    /// The files that differ, but for those that contain times.
    pub files: Vec<String>,
}

/// What a comparison needs to know about a cell.
pub struct Measure<'a> {
    /// Whether a metric is a time.
    pub is_time: &'a dyn Fn(&str) -> bool,
    /// Whether a file of a stage contains times.
    pub has_times: &'a dyn Fn(&str, &str) -> bool,
    /// How far a metric may be from this recorded value.
    pub tolerance: &'a dyn Fn(&str, f64) -> f64,
}

impl Repetition {
    /// Compares a run with its repetition, `None` if that has no result.
    pub fn of(recorded: &Record, again: Option<&Record>, measure: &Measure<'_>) -> Self {
        let parted = again.and_then(|again| parted(recorded, again, measure.has_times));
        let metrics: BTreeMap<String, [f64; 2]> = again
            .into_iter()
            .flat_map(|again| {
                recorded.metrics.iter().filter_map(|(id, was)| Some((id.clone(), [*was, *again.metrics.get(id)?])))
            })
            .collect();
        let complete = metrics.len() == recorded.metrics.len();
        let states_more =
            recorded.checkpoint.is_some() || recorded.predictions.is_some() || !recorded.stages.is_empty();
        let same = parted.is_none()
            && again.is_some_and(|again| {
                let hash = |was: &Option<String>, is: &Option<String>| was.is_none() || was == is;
                hash(&recorded.checkpoint, &again.checkpoint) && hash(&recorded.predictions, &again.predictions)
            });
        let figures = || metrics.iter().filter(|(id, _)| !(measure.is_time)(id));
        let bits = figures().all(|(_, [was, is])| was.to_bits() == is.to_bits());
        let close = figures().all(|(id, [was, is])| (was - is).abs() <= (measure.tolerance)(id, *was));
        let agreement = match again {
            None => Agreement::NotRepeated,
            Some(_) if !complete => Agreement::Different,
            Some(_) if !states_more && figures().next().is_none() => Agreement::NothingToCompare,
            Some(_) if same && bits && figures().count() < metrics.len() => Agreement::SameButTimes,
            Some(_) if same && bits => Agreement::Identical,
            // Times alone say nothing of an encoder that differs.
            Some(_) if close && figures().next().is_some() => Agreement::WithinTolerance,
            Some(_) => Agreement::Different,
        };
        Self {
            row: recorded.row.clone(),
            column: recorded.column.clone(),
            seed: recorded.seed,
            run: recorded.id.clone(),
            agreement,
            metrics,
            complete,
            parted,
        }
    }
}

fn parted(recorded: &Record, again: &Record, has_times: &dyn Fn(&str, &str) -> bool) -> Option<Parted> {
    let same_stage = |stage: &&StageUse, other: &&StageUse| stage.name == other.name;
    recorded.stages.iter().enumerate().find_map(|(place, stage)| {
        // A stage that a cell has twice is found by its place.
        let other = again.stages.get(place).filter(|other| same_stage(&stage, other))?;
        let exact = |files: &[FileHash]| -> BTreeMap<String, String> {
            let exact = files.iter().filter(|file| !has_times(&stage.name, &file.name));
            exact.map(|file| (file.name.clone(), file.hash.clone())).collect()
        };
        let (was, is) = (exact(&stage.files), exact(&other.files));
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let files: Vec<String> = names.into_iter().filter(|name| was.get(*name) != is.get(*name)).cloned().collect();
        (!files.is_empty()).then(|| Parted { stage: stage.name.clone(), same_key: stage.key == other.key, files })
    })
}
