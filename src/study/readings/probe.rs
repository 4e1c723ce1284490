//! Reads the files of an evaluation: accuracies, and the data on which they were measured.

use crate::error::Result;
use crate::files::read_json;
use crate::harness::outcome::{DataRef, Outcome};
use crate::harness::stage::{Done, Finished};
use crate::study::stages::features::{DATA, Evaluated};
use crate::study::stages::metric::{KNN, TOP1};
use crate::study::stages::probe::{Accuracies, PREDICTIONS, PROBE};
use crate::study::stages::{Extraction, Probe};

/// Adds accuracies and data to an outcome.
///
/// # Errors
/// When a file is damaged.
pub fn describe(probe: &Probe, done: &Done, outcome: &mut Outcome) -> Result<()> {
    outcome.data.extend(data(&probe.extraction, done)?);
    accuracies(done.of(&probe.stage), outcome)
}

/// Adds the accuracies in a stage's files to an outcome.
///
/// # Errors
/// When a file is damaged.
pub fn accuracies(files: &Finished, outcome: &mut Outcome) -> Result<()> {
    let result: Accuracies = read_json(&files.dir.join(PROBE))?;
    outcome.metrics.insert(TOP1.into(), result.linear);
    outcome.metrics.insert(KNN.into(), result.knn);
    outcome.predictions = files.hash_of(PREDICTIONS);
    outcome.hits = result.hits;
    outcome.facts.insert("penalty".into(), result.penalty.into());
    outcome.facts.insert("probe converged".into(), result.converged.into());
    Ok(())
}

/// The splits of a set, each with the set's current licence, which is not part of any key.
///
/// # Errors
/// When a file is damaged.
pub fn data(extraction: &Extraction, done: &Done) -> Result<Vec<DataRef>> {
    let evaluated: Evaluated = read_json(&done.of(&extraction.stage).dir.join(DATA))?;
    let licence = |data| DataRef { licence: extraction.set.licence.clone(), ..data };
    Ok(evaluated.data.into_iter().map(licence).collect())
}
