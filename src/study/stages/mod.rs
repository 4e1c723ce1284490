//! The stages that cells of several tables are built of, a file each: its inputs, its work, its files. What the files say
//! is in `readings`. A stage is computed once for everything that determines it. This file only puts stages together.

mod augmented;
pub(super) mod course;
mod encoder;
mod factors;
pub(super) mod features;
mod import_weights;
pub(super) mod invariance;
mod mapping;
pub mod metric;
mod neighbours;
mod pixels;
pub(super) mod pretrain;
pub(super) mod probe;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::catalog::{Catalog, Extent, Set};
use crate::data::pairs::Kind;
use crate::data::world::Nuisance;
use crate::error::{Error, Result};
use crate::harness::provenance::Compute;
use crate::harness::stage::{Cost, Description, Stage};
use crate::kernels::cpu;
use crate::tensor::Cpu;
use crate::train::Trained;

use super::code::code;
use super::settings::Settings;

pub use course::Course;
pub use factors::factors;
pub use features::Extraction;
pub use import_weights::import_weights;
pub use invariance::Invariance;
pub use mapping::Mapping;
pub use pretrain::Training;
use pretrain::{Before, Made};
pub use probe::Probe;

/// What is evaluated: which map from images to vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Representation {
    /// The pixels themselves, at 32x32.
    Pixels,
    /// The encoder as it is before its first step.
    Random,
    /// The encoder after pretraining on these pairs.
    Pretrained(Kind),
}

/// What stages are made from besides the settings of a row, found once for a command or a table.
pub struct Context {
    /// The datasets.
    pub catalog: Catalog,
    /// What trains and evaluates.
    pub device: Cpu,
    /// The same as keys and records name it.
    pub compute: Compute,
}

impl Context {
    /// Datasets and device of the settings.
    pub fn new(settings: &Settings) -> Self {
        let device = Cpu { precision: settings.precision.resolve() };
        let (isa, precision) = (cpu::isa().name().into(), device.precision.name().into());
        let catalog = Catalog::new(settings.world.clone(), &settings.paths.data);
        Self { catalog, device, compute: Compute { device: "cpu".into(), isa, precision } }
    }

    /// A stage's description; `roots` are the modules that do its work.
    fn describe(
        &self,
        name: &'static str,
        inputs: Value,
        roots: &[&str],
        after: &[&Arc<Stage>],
        cost: Cost,
    ) -> Description {
        let after = after.iter().map(|&stage| stage.clone()).collect();
        Description { name, inputs, after, code: code(roots), compute: self.compute.clone(), cost, timed: &[] }
    }
}

/// A pretraining on this kind of pairs, with what finds its pairs.
///
/// # Errors
/// When the pairs' set is not there, or a batch takes more pairs than it gives.
pub fn training(context: &Context, settings: &Settings, kind: Kind, seed: u64) -> Result<Training> {
    let pairs = context.catalog.pairs(&settings.pairs)?;
    let count = kind.rows(pairs.chosen.count());
    let batch = settings.pretrain.batch;
    if count < batch {
        return Err(Error::new(format!("`pretrain.batch` is {batch}, but {} gives {count} pairs", kind.title()))
            .hint(format!("set the batch to 1 to {count}: `--set pretrain.batch={count}`")));
    }
    let seconds = match kind {
        Kind::Neighbours => {
            let by = training(context, settings, Kind::Augmented, seed)?;
            Some(neighbours::neighbours(context, settings, &by.stage, &encoder_of(context, &by))?)
        }
        Kind::Augmented | Kind::Semantic | Kind::Unpaired => None,
    };
    let made = augmented::augmented(context, settings, &pairs, kind);
    let made = made.map(|stage| Made { stage, images: augmented::images });
    let factors = factors(context, settings, &pairs.set);
    Training::new(context, settings, kind, seed, &pairs, Before { seconds, made, factors })
}

/// What maps images to vectors, with the training that makes it where there is one.
///
/// # Errors
/// As [`training`].
pub fn mapping(
    context: &Context,
    settings: &Settings,
    what: Representation,
    seed: u64,
) -> Result<(Mapping, Option<Training>)> {
    let training = match what {
        Representation::Pretrained(kind) => Some(training(context, settings, kind, seed)?),
        Representation::Random | Representation::Pixels => None,
    };
    let mapping = match (&training, what) {
        (Some(training), _) => encoder_of(context, training),
        (None, Representation::Pixels) => pixels::pixels(&settings.normalization),
        (None, _) => encoder::random(context.device, &settings.model, &settings.normalization, seed),
    };
    Ok((mapping, training))
}

/// The encoder of a training, to be evaluated.
fn encoder_of(context: &Context, training: &Training) -> Mapping {
    encoder::trained(context.device, &training.stage, &training.trained)
}

/// An evaluation by linear probe and k-NN.
///
/// # Errors
/// As [`training`]; or when the evaluation set is not there.
pub fn evaluation(context: &Context, settings: &Settings, mapping: &Mapping, set: &str, seed: u64) -> Result<Probe> {
    let set = evaluation_set(context, settings, set)?;
    let extraction = Extraction::new(context, mapping, &set);
    Ok(Probe::new(context, settings, &extraction, factors(context, settings, &set), seed))
}

/// What one nuisance factor does to a mapping.
///
/// # Errors
/// As [`evaluation`].
pub fn invariance(
    context: &Context,
    settings: &Settings,
    mapping: &Mapping,
    (set, nuisance): (&str, Nuisance),
    seed: u64,
) -> Result<Invariance> {
    let extraction = Extraction::new(context, mapping, &evaluation_set(context, settings, set)?);
    Ok(Invariance::new(context, settings, &extraction, nuisance, seed))
}

/// How a training's accuracy on a set rises.
///
/// # Errors
/// As [`training`].
pub fn course(context: &Context, settings: &Settings, kind: Kind, set: &str, seed: u64) -> Result<Course> {
    let training = training(context, settings, kind, seed)?;
    let mapping = encoder_of(context, &training);
    Ok(Course::new(context, settings, training, mapping, &evaluation_set(context, settings, set)?, seed))
}

/// A set that these settings can evaluate on: said before a training, not after it.
fn evaluation_set(context: &Context, settings: &Settings, name: &str) -> Result<Arc<Set>> {
    let set = context.catalog.evaluation_set(name)?;
    let Extent { train, test, .. } = set.extent;
    let k = settings.probe.neighbours;
    if test == 0 {
        return Err(Error::new(format!("`{name}` has no test images to evaluate on"))
            .hint("`sempair data list` shows each set's splits"));
    }
    if train < k {
        return Err(Error::new(format!(
            "`{name}` has {train} training images; k-NN with {k} neighbours needs as many"
        ))
        .hint(format!("`--set probe.neighbours={}`, or import a set with more", train.max(1))));
    }
    Ok(set)
}

/// An evaluation of an encoder that lies in `dir`, left there by the stage of this key.
///
/// # Errors
/// When the evaluation set is not there.
pub fn evaluation_of_folder(
    context: &Context,
    settings: &Settings,
    trained: &Trained,
    (dir, key): (&Path, &str),
    set: &str,
) -> Result<Probe> {
    let mapping = encoder::in_folder(context.device, trained, dir, key);
    evaluation(context, settings, &mapping, set, trained.run.seed)
}
