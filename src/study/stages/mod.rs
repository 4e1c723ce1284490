//! The stages that cells of several tables are built from. Each has a file with its inputs, its work and its output
//! files; `readings` reads these output files. A stage is computed once for each set of values that determine it.
//! This file only connects stages.

mod augmented;
pub(super) mod detector;
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
pub(super) mod time_to_accuracy;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::catalog::{Catalog, Extent, Set};
use crate::data::pairs::PairKind;
use crate::data::world::Nuisance;
use crate::error::{Error, Result};
use crate::harness::provenance::Compute;
use crate::harness::stage::{Cost, Description, Stage};
use crate::study::device;
use crate::tensor::AnyDevice;
use crate::train::Trained;

use super::code::code;
use super::settings::{DetectionSettings, Settings};

pub use detector::Detector;
pub use factors::factors;
pub use features::Extraction;
pub use import_weights::import_weights;
pub use invariance::Invariance;
pub use mapping::Mapping;
pub use pretrain::Training;
use pretrain::{Before, Made};
pub use probe::Probe;
pub use time_to_accuracy::TimeToAccuracy;

/// What is evaluated: which map from images to vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Representation {
    /// The pixels themselves, at 32x32.
    Pixels,
    /// The encoder before its first step.
    Random,
    /// The encoder after pretraining on these pairs.
    Pretrained(PairKind),
}

/// What stages need in addition to the settings of a row. It is created once for a command or a table.
pub struct Context {
    /// The datasets.
    pub catalog: Catalog,
    /// The device that trains and evaluates.
    pub device: AnyDevice,
    /// The device as named in keys and records.
    pub compute: Compute,
}

impl Context {
    /// The datasets and the device of the settings.
    ///
    /// # Errors
    /// When a GPU is asked for and cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let device = device::open(settings)?;
        let catalog = Catalog::new(settings.world.clone(), &settings.paths.data);
        Ok(Self { catalog, compute: device::compute(&device), device })
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

/// A pretraining on this kind of pairs, with the stages that find its pairs.
///
/// # Errors
/// When the set of the pairs is missing, or a batch needs more pairs than there are.
pub fn training(context: &Context, settings: &Settings, kind: PairKind, seed: u64) -> Result<Training> {
    let pairs = context.catalog.pairs(&settings.pairs)?;
    let count = kind.rows(pairs.chosen.count());
    let batch = settings.pretrain.batch;
    if count < batch {
        return Err(Error::new(format!("`pretrain.batch` is {batch}, but {} gives {count} pairs", kind.title()))
            .hint(format!("set the batch to at most {count}: `--set pretrain.batch={count}`")));
    }
    let seconds = match kind {
        PairKind::Neighbours => {
            let by = training(context, settings, PairKind::Augmented, seed)?;
            Some(neighbours::neighbours(context, settings, &by.stage, &encoder_of(context, &by))?)
        }
        PairKind::Augmented | PairKind::Semantic | PairKind::Unpaired => None,
    };
    let made = augmented::augmented(context, settings, &pairs, kind);
    let made = made.map(|stage| Made { stage, images: augmented::images });
    let factors = factors(context, settings, &pairs.set);
    Training::new(context, settings, kind, seed, &pairs, Before { seconds, made, factors })
}

/// The map from images to vectors, and the training that makes it, if there is one.
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
        (None, _) => encoder::random(&context.device, &settings.model, &settings.normalization, seed),
    };
    Ok((mapping, training))
}

/// The encoder of a training, to be evaluated.
fn encoder_of(context: &Context, training: &Training) -> Mapping {
    encoder::trained(&context.device, &training.stage, &training.trained)
}

/// An evaluation by linear probe and k-NN.
///
/// # Errors
/// As [`training`]; also when the evaluation set is missing.
pub fn evaluation(context: &Context, settings: &Settings, mapping: &Mapping, set: &str, seed: u64) -> Result<Probe> {
    let set = evaluation_set(context, settings, set)?;
    let extraction = Extraction::new(context, mapping, &set);
    Ok(Probe::new(context, settings, &extraction, factors(context, settings, &set), seed))
}

/// The effect of one nuisance factor on a mapping.
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

/// How the accuracy on a set rises during a training.
///
/// # Errors
/// As [`training`].
pub fn time_to_accuracy(
    context: &Context,
    settings: &Settings,
    kind: PairKind,
    set: &str,
    seed: u64,
) -> Result<TimeToAccuracy> {
    let training = training(context, settings, kind, seed)?;
    let mapping = encoder_of(context, &training);
    Ok(TimeToAccuracy::new(context, settings, training, mapping, &evaluation_set(context, settings, set)?, seed))
}

/// A detector on the encoder of a mapping; `None` where there is no encoder.
///
/// # Errors
/// When the set is missing, or has no training or no test images; when the encoder is a transformer.
pub fn detector(
    context: &Context,
    settings: &Settings,
    detection: &DetectionSettings,
    mapping: &Mapping,
    seed: u64,
) -> Result<Option<Detector>> {
    let set = context.catalog.annotated(&detection.set)?;
    let Extent { train, test, .. } = set.extent;
    if train == 0 || test == 0 {
        return Err(Error::new(format!("`{}` has {train} images for training and {test} for the test", set.name))
            .hint("`sempair data list` shows each set's splits; detection needs `train` and `test`"));
    }
    let Some(model) = mapping.model else { return Ok(None) };
    model.check_stages()?;
    Ok(Some(Detector::new(context, settings, detection, (mapping, model), &set, seed)))
}

/// A detector on the encoder in `dir`, which the stage with this key wrote.
///
/// # Errors
/// As [`detector`].
pub fn detector_of_folder(
    context: &Context,
    settings: &Settings,
    detection: &DetectionSettings,
    trained: &Trained,
    (dir, key): (&Path, &str),
) -> Result<Detector> {
    let mapping = encoder::in_folder(&context.device, trained, dir, key);
    // The encoder knows images as they were normalised in its training.
    let settings = Settings { normalization: trained.normalization.clone(), ..settings.clone() };
    let detector = detector(context, &settings, detection, &mapping, trained.run.seed)?;
    Ok(detector.expect("an encoder in a folder has a model"))
}

/// Finds an evaluation set and checks that these settings can use it, so that an error appears
/// before a training, not after it.
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
            "`{name}` has {train} training images; k-NN with {k} neighbours needs at least {k}"
        ))
        .hint(format!("`--set probe.neighbours={}`, or import a set with more", train.max(1))));
    }
    Ok(set)
}

/// An evaluation of the encoder in `dir`, which the stage with this key wrote.
///
/// # Errors
/// When the evaluation set is missing.
pub fn evaluation_of_folder(
    context: &Context,
    settings: &Settings,
    trained: &Trained,
    (dir, key): (&Path, &str),
    set: &str,
) -> Result<Probe> {
    let mapping = encoder::in_folder(&context.device, trained, dir, key);
    evaluation(context, settings, &mapping, set, trained.run.seed)
}
