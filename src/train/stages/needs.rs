//! Which stages a cell is made of, by the names and inputs under which they are computed, and what each costs.

use serde_json::Value;

use crate::data::catalog::Extent;
use crate::data::pairs::Kind;
use crate::data::world::Nuisance;
use crate::error::{Error, Result};
use crate::harness::experiment::Need;
use crate::train::cost;
use crate::train::settings::Settings;

use super::course::course_inputs;
use super::{Representation, features_inputs, measure_inputs, neighbours_inputs, representation_inputs, varied_inputs};

/// The stages of [`super::evaluate`].
///
/// # Errors
/// When a dataset is not there.
pub fn needs(settings: &Settings, what: Representation, set: &str, seed: u64) -> Result<Vec<Need>> {
    let (mut needs, identity) = needs_of_features(settings, what, set, seed)?;
    let seconds = cost::probe(settings, what, &settings.catalog().extent(set)?);
    needs.push(Need::new("probe", measure_inputs(settings, &identity, set, seed)?, seconds));
    Ok(needs)
}

/// The stages of [`super::evaluate_varied`].
///
/// # Errors
/// When a dataset is not there.
pub fn needs_of_varied(
    settings: &Settings,
    what: Representation,
    (set, nuisance): (&str, Nuisance),
    seed: u64,
) -> Result<Vec<Need>> {
    let (mut needs, identity) = needs_of_features(settings, what, set, seed)?;
    let extent = settings.catalog().extent(set)?;
    let seconds = cost::features(settings, what, extent.test) + cost::probe(settings, what, &extent);
    needs.push(Need::new("invariance", varied_inputs(settings, &identity, (set, nuisance), seed)?, seconds));
    Ok(needs)
}

/// The stages of [`super::pretrain_alone`].
///
/// # Errors
/// When the pairs' set is not there, or a batch takes more pairs than it gives.
pub fn needs_of_pretraining(settings: &Settings, kind: Kind, seed: u64) -> Result<Vec<Need>> {
    let (batch, pairs) = (settings.pretrain.batch, pairs_of(settings) * if kind == Kind::Unpaired { 2 } else { 1 });
    if settings.pairs.list.is_empty() && pairs < batch {
        return Err(Error::new(format!("`pretrain.batch` is {batch}, but {} gives {pairs} pairs", kind.title()))
            .hint(format!("set the batch to 1 to {pairs}: `--set pretrain.batch={pairs}`")));
    }
    let mut needs = Vec::new();
    if kind == Kind::Neighbours {
        needs = needs_of_pretraining(settings, Kind::Augmented, seed)?;
        let seconds = cost::features(settings, Representation::Pretrained(kind), 2 * pairs_of(settings));
        needs.push(Need::new("neighbours", neighbours_inputs(settings, seed)?, seconds));
    }
    let inputs = representation_inputs(settings, Representation::Pretrained(kind), seed)?;
    needs.push(Need::new("pretrain", inputs, cost::pretraining(settings, kind)));
    Ok(needs)
}

/// The stages of [`super::time_to_equal`].
///
/// # Errors
/// When a dataset is not there.
pub fn needs_of_time_to_equal(trainings: &[(Settings, Kind)], set: &str, seed: u64) -> Result<Vec<Need>> {
    let mut needs = Vec::new();
    for (settings, kind) in trainings {
        needs.extend(needs_of_pretraining(settings, *kind, seed)?);
        let seconds = cost::course(settings, Representation::Pretrained(*kind), &settings.catalog().extent(set)?);
        needs.push(Need::new("course", course_inputs(settings, *kind, set, seed)?, seconds));
    }
    Ok(needs)
}

/// The stages up to the features of a set, and what determines the representation.
fn needs_of_features(settings: &Settings, what: Representation, set: &str, seed: u64) -> Result<(Vec<Need>, Value)> {
    let mut needs = match what {
        Representation::Pretrained(kind) => needs_of_pretraining(settings, kind, seed)?,
        Representation::Random | Representation::Pixels => Vec::new(),
    };
    let identity = representation_inputs(settings, what, seed)?;
    let Extent { train, test, .. } = settings.catalog().extent(set)?;
    let seconds = cost::features(settings, what, train + test);
    needs.push(Need::new("features", features_inputs(settings, &identity, set)?, seconds));
    Ok((needs, identity))
}

/// How many pairs a list has that is drawn.
fn pairs_of(settings: &Settings) -> usize {
    settings.pairs.categories * settings.pairs.per_category
}
