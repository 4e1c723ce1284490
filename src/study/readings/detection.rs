//! Reads the files of a detector: its losses, and the average precision of what it found.

use serde_json::{Value, json};

use crate::detection::{SHOWN, boxes};
use crate::error::Result;
use crate::eval::{
    AveragePrecision, CategoryResult, DetectedImage, Detection, GroundTruth, Interpolation, Marks, Matching, Replicates,
};
use crate::files::read_json;
use crate::harness::outcome::{CategoryValue, Curve, DataRef, Outcome, Scene, SceneBox};
use crate::harness::stage::Done;
use crate::rng::Key;
use crate::study::stages::Detector;
use crate::study::stages::detector::{FOUND, Found, FoundIn, Shown};
use crate::train::{DETECTOR, DetectorHistory, LOSSES};

/// Adds curves, facts and data to an outcome, and returns the average precision by the paper's protocol, of the whole and
/// of each category.
///
/// # Errors
/// When a file is damaged, or no test image has an object.
pub fn describe(detector: &Detector, done: &Done, outcome: &mut Outcome) -> Result<Measured> {
    let (training, detections) = (done.of(&detector.training), done.of(&detector.detections));
    let history: DetectorHistory = read_json(&training.dir.join(LOSSES))?;
    let found: Found = read_json(&detections.dir.join(FOUND))?;
    let images: Vec<DetectedImage> = found.images.iter().map(detected).collect();
    let marks = Marks::new(&images, found.classes.len(), Matching::Voc)?;
    let result = marks.result(Interpolation::ElevenPoints);
    (outcome.checkpoint, outcome.predictions) = (training.hash_of(DETECTOR), detections.hash_of(FOUND));
    outcome.curves.extend([losses(&history), precision(&marks, &result.categories)]);
    let replicates = Replicates::new(&marks, Interpolation::ElevenPoints, REPLICATES, Key::root(0).split("images"));
    let error = replicates.standard_error();
    let by = |matching| Marks::new(&images, found.classes.len(), matching);
    let of_coco = by(Matching::Coco)?.result(Interpolation::HundredOnePoints).mean;
    let of_printed = by(Matching::VocPrinted)?.result(Interpolation::ElevenPoints).mean;
    let facts = [
        ("detector's training seconds", history.seconds.into()),
        ("AP50, AP and AP75 by COCO's rule", three(&of_coco)),
        ("AP50, AP and AP75 by the area under VOC's curve", three(&marks.result(Interpolation::Area).mean)),
        ("AP50, AP and AP75 of detections as detectron2 prints them", three(&of_printed)),
        ("standard error over images of AP50, AP and AP75", error.as_ref().map_or(Value::Null, three)),
    ];
    outcome.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    outcome.scenes = found.pictures.iter().map(|picture| scene(picture, &found)).collect();
    let licence = |data| DataRef { licence: detector.set.licence.clone(), ..data };
    outcome.data.extend(found.data.into_iter().map(licence));
    Ok(Measured { mean: result.mean, classes: found.classes, categories: result.categories })
}

/// The average precision of a detector.
pub struct Measured {
    /// Over all categories.
    pub mean: AveragePrecision,
    classes: Vec<String>,
    categories: Vec<CategoryResult>,
}

impl Measured {
    /// One kind of average precision on each category.
    pub fn by_category(&self, which: fn(&AveragePrecision) -> f64) -> Vec<CategoryValue> {
        let value = |(name, of): (&String, &CategoryResult)| CategoryValue {
            name: name.clone(),
            items: of.objects as u64,
            value: of.average_precision.as_ref().map(which),
        };
        self.classes.iter().zip(&self.categories).map(value).collect()
    }
}

/// Resampled sets of test images, for the standard error.
const REPLICATES: usize = 1000;

fn three(of: &AveragePrecision) -> Value {
    json!([of.ap50, of.ap, of.ap75])
}

fn detected(FoundIn { objects, detections }: &FoundIn) -> DetectedImage {
    let object = |object: &crate::data::annotated::Object| GroundTruth {
        edges: object.edges,
        category: object.category,
        difficult: object.difficult,
    };
    let detection = |found: &crate::detection::Detection| Detection {
        edges: found.edges,
        category: found.class as u32,
        score: found.score,
    };
    DetectedImage {
        objects: objects.iter().map(object).collect(),
        detections: detections.iter().map(detection).collect(),
    }
}

/// A picture with the detections in it, right or wrong by VOC's rule at an IoU of 0.5, and the objects that were missed.
fn scene(picture: &Shown, found: &Found) -> Scene {
    let FoundIn { objects, detections } = &found.images[picture.image];
    let scaled = |edges| boxes::scale(edges, picture.size, picture.shown);
    let mut missed = vec![true; objects.len()];
    let mut shown = Vec::new();
    for detection in detections.iter().filter(|detection| detection.score >= SHOWN) {
        let of_class = (0..objects.len()).filter(|&at| objects[at].category as usize == detection.class);
        let iou = |at: usize| boxes::iou(objects[at].edges, detection.edges);
        let best = of_class.max_by(|&a, &b| iou(a).total_cmp(&iou(b)).then(b.cmp(&a)));
        let met = best.filter(|&at| iou(at) > 0.5);
        if met.is_some_and(|at| objects[at].difficult) {
            continue;
        }
        let hit = met.filter(|&at| missed[at]);
        if let Some(at) = hit {
            missed[at] = false;
        }
        let label = format!("{} {:.2}", found.classes[detection.class], detection.score);
        let kind = if hit.is_some() { "right" } else { "wrong" };
        shown.push(SceneBox { edges: scaled(detection.edges), label, kind: kind.into() });
    }
    for object in objects.iter().zip(&missed).filter(|(object, missed)| **missed && !object.difficult).map(|of| of.0) {
        let label = found.classes[object.category as usize].clone();
        shown.push(SceneBox { edges: scaled(object.edges), label, kind: "missed".into() });
    }
    Scene {
        name: format!("test image {} of {}", picture.image + 1, found.images.len()),
        width: picture.shown.1 as u32,
        height: picture.shown.0 as u32,
        png: picture.png.clone(),
        boxes: shown,
    }
}

fn losses(history: &DetectorHistory) -> Curve {
    let count = history.losses.len();
    Curve {
        name: "detector loss".into(),
        x_title: "share of the training, %".into(),
        y_title: "detector loss".into(),
        x: (1..=count).map(|at| 100.0 * at as f64 / count as f64).collect(),
        y: history.losses.iter().map(crate::detection::StepLosses::sum).collect(),
    }
}

/// The mean of the interpolated precision at an IoU of 0.5, at each recall, over the categories that have an object.
fn precision(marks: &Marks, categories: &[CategoryResult]) -> Curve {
    let there = (0..categories.len()).filter(|&category| categories[category].average_precision.is_some());
    let curves: Vec<_> = there.map(|category| marks.curve(category, 50)).collect();
    let at = |recall: f64| curves.iter().map(|curve| curve.interpolated(recall)).sum::<f64>() / curves.len() as f64;
    let x: Vec<f64> = (0..=50).map(|at| 2.0 * f64::from(at)).collect();
    let y = x.iter().map(|recall| 100.0 * at(recall / 100.0)).collect();
    Curve {
        name: "precision at IoU 0.5".into(),
        x_title: "recall, %".into(),
        y_title: "precision, %, mean of categories".into(),
        x,
        y,
    }
}
