//! Stages `detector` and `detections`: trains a detector on an encoder, and finds the objects in test images with it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::data::annotated::{AnnotatedSet, Object};
use crate::data::catalog::Set;
use crate::data::preview::png;
use crate::data::resize::resized;
use crate::detection::Detection;
use crate::error::{Error, Result};
use crate::files::write_json;
use crate::harness::outcome::DataRef;
use crate::harness::provenance::Compute;
use crate::harness::stage::{Description, Stage};
use crate::models::ModelSpec;
use crate::study::cost;
use crate::study::settings::{DetectionSettings, Settings};
use crate::tensor::{AnyDevice, Precision};
use crate::train::{DETECTOR, DetectorTraining, LOSSES, TrainContext, detections, train_detector};

use super::Context;
use super::features::data_ref;
use super::mapping::Mapping;

/// File of the detections and of the objects in the test images.
pub(in crate::study) const FOUND: &str = "found.json";

/// A detector and its evaluation on a set.
#[derive(Clone)]
pub struct Detector {
    /// Trains it.
    pub training: Arc<Stage>,
    /// Finds objects with it.
    pub detections: Arc<Stage>,
    /// The set.
    pub(in crate::study) set: Arc<Set<AnnotatedSet>>,
    /// How it is trained.
    pub(in crate::study) run: DetectorTraining,
    /// The device that trains it, in f32.
    pub(in crate::study) device: AnyDevice,
}

/// What is in the test images of a set, and what a detector found.
#[derive(Serialize, Deserialize)]
pub(in crate::study) struct Found {
    /// The names of the categories.
    pub classes: Vec<String>,
    /// The splits that were used.
    pub data: Vec<DataRef>,
    /// Image by image.
    pub images: Vec<FoundIn>,
    /// Pictures of a few of these images, evenly spaced.
    pub pictures: Vec<Shown>,
}

/// A picture of a test image.
#[derive(Serialize, Deserialize)]
pub(in crate::study) struct Shown {
    /// Which image.
    pub image: usize,
    /// Height and width of the image, before it was made smaller.
    pub size: (usize, usize),
    /// Height and width of the picture.
    pub shown: (usize, usize),
    /// The picture as PNG, in base64.
    pub png: String,
}

/// What is in one test image, and what was found there.
#[derive(Serialize, Deserialize)]
pub(in crate::study) struct FoundIn {
    pub objects: Vec<Object>,
    pub detections: Vec<Detection>,
}

impl Detector {
    /// The stages for a detector on the encoder of a mapping.
    pub fn new(
        context: &Context,
        settings: &Settings,
        detection: &DetectionSettings,
        (mapping, model): (&Mapping, ModelSpec),
        set: &Arc<Set<AnnotatedSet>>,
        seed: u64,
    ) -> Self {
        let run = DetectorTraining {
            model,
            normalization: settings.normalization.clone(),
            resizing: detection.resizing.clone(),
            protocol: detection.protocol.clone(),
            recipe: detection.recipe.clone(),
            seed,
        };
        let stride = model.detection_stride();
        let inputs = json!({ "encoder": mapping.identity, "set": set.identity, "detector": run, "stride": stride });
        let roots = [&["study::stages::detector", set.made_by()], &mapping.code[..]].concat();
        let after: Vec<&Arc<Stage>> = mapping.after.iter().collect();
        let cost = cost::detector(&context.device, &run, set.extent);
        let described = context.describe("detector", inputs.clone(), &roots, &after, cost);
        // With the 8 bits of bf16, hundreds of scores would be equal, and their order decides the average precision.
        let (precision, device) = (Precision::F32, context.device.clone());
        let compute = Compute { precision: precision.name().into(), ..context.compute.clone() };
        let (of, from, to_train, to_detect) = (mapping.clone(), set.clone(), run.clone(), run.clone());
        let (checkpoint_seconds, keep_going) = (settings.checkpoint_seconds, settings.keep_going);
        let training =
            Stage::new(Description { timed: &[LOSSES], compute: compute.clone(), ..described }, move |site| {
                let (dir, progress, interrupt) = (site.dir, site.progress, site.interrupt);
                let around = TrainContext { dir, checkpoint_seconds, keep_going, progress, interrupt };
                let (device, weights) = (device.with_precision(precision)?, of.source.weights(site));
                train_detector(&to_train, &device, &from.split("train")?, weights.as_deref(), &around)
            });
        let cost = cost::detections(&context.device, &run, set.extent);
        let described = context.describe("detections", json!({ "of": inputs }), &roots, &[&training], cost);
        let (trained, from, device) = (training.clone(), set.clone(), context.device.clone());
        let detections = Stage::new(Description { compute, ..described }, move |site| {
            let (train, test) = (from.split("train")?, from.split("test")?);
            let file = site.of(&trained).dir.join(DETECTOR);
            let found = detections(
                &to_detect,
                &device.with_precision(precision)?,
                &test,
                &file,
                (site.progress, site.interrupt),
            )?;
            let data = [&train, &test].map(|split| data_ref(split, &from.description)).into();
            let in_image = |(image, detections)| FoundIn { objects: test.objects(image).to_vec(), detections };
            let images = found.into_iter().enumerate().map(in_image).collect();
            let pictures = shown(&test)?;
            write_json(&site.dir.join(FOUND), &Found { classes: test.classes.to_vec(), data, images, pictures })
        });
        Self { training, detections, set: set.clone(), run, device: context.device.clone() }
    }
}

/// How many test images records show.
const PICTURES: usize = 6;
/// The largest side of a picture in a record, in pixels.
const LARGEST: usize = 128;

/// Pictures of a few images that are evenly spaced in the order of the set.
fn shown(set: &AnnotatedSet) -> Result<Vec<Shown>> {
    let count = PICTURES.min(set.len());
    let picture = |at: usize| {
        let image = (2 * at + 1) * set.len() / (2 * count);
        let (height, width) = set.size(image);
        let shrunk = |side: usize| (side * LARGEST / height.max(width).max(LARGEST)).max(1);
        let to = (shrunk(height), shrunk(width));
        let pixels = resized(set.pixels(image)?.into_owned(), (height, width), to).map_err(Error::new)?;
        let png = STANDARD.encode(png(to.1, to.0, &pixels)?);
        Ok(Shown { image, size: (height, width), shown: to, png })
    };
    (0..count).map(picture).collect()
}
