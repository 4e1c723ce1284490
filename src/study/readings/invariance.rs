//! Reads the files of the stage `invariance`, in which one nuisance factor is changed.

use crate::error::Result;
use crate::files::read_json;
use crate::harness::outcome::Outcome;
use crate::harness::stage::Done;
use crate::study::stages::Invariance;
use crate::study::stages::invariance::COSINES;
use crate::study::stages::metric::COSINE;

use super::probe;

/// Adds cosine, accuracies and data to an outcome.
///
/// # Errors
/// When a file is damaged.
pub fn describe(invariance: &Invariance, done: &Done, outcome: &mut Outcome) -> Result<()> {
    outcome.data.extend(probe::data(&invariance.extraction, done)?);
    let files = done.of(&invariance.stage);
    probe::accuracies(files, outcome)?;
    outcome.metrics.insert(COSINE.into(), read_json(&files.dir.join(COSINES))?);
    Ok(())
}
