//! Reads the files of a detector: its losses, and the average precision of what it found.

use serde_json::{Value, json};

use crate::error::Result;
use crate::eval::{AveragePrecision, DetectedImage, Detection, GroundTruth, Interpolation, Marks, Matching};
use crate::files::read_json;
use crate::harness::outcome::{Curve, DataRef, Outcome};
use crate::harness::stage::Done;
use crate::study::stages::Detector;
use crate::study::stages::detector::{FOUND, Found, FoundIn};
use crate::train::{DETECTOR, DetectorHistory, LOSSES};

/// The name of the fact that has the average precision of each category.
const BY_CATEGORY: &str = "average precision by category";

/// Adds curves, facts and data to an outcome, and returns the average precision by the paper's protocol.
///
/// # Errors
/// When a file is damaged, or no test image has an object.
pub fn describe(detector: &Detector, done: &Done, outcome: &mut Outcome) -> Result<AveragePrecision> {
    let (training, detections) = (done.of(&detector.training), done.of(&detector.detections));
    let history: DetectorHistory = read_json(&training.dir.join(LOSSES))?;
    let found: Found = read_json(&detections.dir.join(FOUND))?;
    let images: Vec<DetectedImage> = found.images.iter().map(detected).collect();
    let marks = Marks::new(&images, found.classes.len(), Matching::Voc)?;
    let coco = Marks::new(&images, found.classes.len(), Matching::Coco)?;
    let result = marks.result(Interpolation::ElevenPoints);
    (outcome.checkpoint, outcome.predictions) = (training.hash_of(DETECTOR), detections.hash_of(FOUND));
    outcome.curves.extend([losses(&history), precision(&marks, found.classes.len())]);
    let of_coco = coco.result(Interpolation::HundredOnePoints).mean;
    let by_category = found.classes.iter().zip(&result.categories).map(|(name, category)| {
        let ap = category.average_precision.map(|of| json!([of.ap50, of.ap, of.ap75]));
        json!({ "category": name, "objects": category.objects, "detections": category.detections, "ap50, ap, ap75": ap })
    });
    let facts = [
        ("detector's training seconds", history.seconds.into()),
        (BY_CATEGORY, Value::Array(by_category.collect())),
        ("AP50, AP and AP75 by COCO's rule", json!([of_coco.ap50, of_coco.ap, of_coco.ap75])),
    ];
    outcome.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    let licence = |data| DataRef { licence: detector.set.licence.clone(), ..data };
    outcome.data.extend(found.data.into_iter().map(licence));
    Ok(result.mean)
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

/// The mean over categories of the interpolated precision at an IoU of 0.5, at each recall.
fn precision(marks: &Marks, categories: usize) -> Curve {
    let curves: Vec<_> = (0..categories).map(|category| marks.curve(category, 50)).collect();
    let at = |recall: f64| curves.iter().map(|curve| curve.interpolated(recall)).sum::<f64>() / categories as f64;
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
