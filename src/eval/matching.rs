//! Detections compared with the objects in their images: each is a hit, a false alarm or ignored, at ten thresholds of
//! the overlap, by the rule of PASCAL VOC or of COCO.
//!
//! The overlap is the intersection over union (IoU). Boxes are matched inside an image, so all marks are made once, and
//! curves (`average_precision`) and resampled images (`resample`) only count them.

use std::array;
use std::mem;

use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;

/// The thresholds of IoU in percent.
pub const THRESHOLDS: [u32; 10] = [50, 55, 60, 65, 70, 75, 80, 85, 90, 95];

/// COCO's limit of detections of one category in one image.
const COCO_DETECTIONS: usize = 100;

/// An object in an image, as annotated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroundTruth {
    /// Left, top, right and bottom edge in pixels; the box of the first pixel alone is (0, 0, 1, 1).
    pub edges: [f32; 4],
    /// The number of its category.
    pub category: u32,
    /// Whether it does not count: a detection of it is neither right nor wrong.
    pub difficult: bool,
}

/// A box that a detector found in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Left, top, right and bottom edge in pixels, as in [`GroundTruth`].
    pub edges: [f32; 4],
    /// The number of its category.
    pub category: u32,
    /// How sure the detector is; only the order of scores matters.
    pub score: f32,
}

/// What is in an image, and what was detected there. Either may be empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DetectedImage {
    /// The objects.
    pub objects: Vec<GroundTruth>,
    /// The detections; the order decides between equal scores.
    pub detections: Vec<Detection>,
}

/// The rule by which detections are compared with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// PASCAL VOC: a detection is compared with the object of its category with the highest IoU, even if an earlier
    /// detection has taken that object, and the IoU must exceed the threshold. Any number of detections of a difficult
    /// object are ignored.
    Voc,
    /// VOC after Detectron2 has written the detections to a text file: scores with three decimals, edges with one, as
    /// first and last pixels that count from 1. The objects' edges are taken to be whole numbers.
    VocPrinted,
    /// COCO: a detection takes the object with the highest IoU that is still free (the last of equals); the IoU may
    /// equal the threshold. If there is none, a detection is ignored when at least that share of its own area lies in a
    /// difficult object (COCO's crowd). Only the 100 best detections of a category in an image count.
    Coco,
}

/// What a detection is, at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The first detection of an object.
    Hit,
    /// A detection of nothing, or of an object that another has taken.
    False,
    /// A detection of a difficult object.
    Ignored,
}

/// The marks of all detections of a set of images. Invariant: at least one object is not difficult.
#[derive(Clone, Debug, PartialEq)]
pub struct Marks {
    /// Number of images.
    pub(super) images: usize,
    /// By category.
    pub(super) classes: Vec<ClassMarks>,
}

/// The marks of the detections of one category, by descending score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClassMarks {
    /// The image of each object that is not difficult.
    pub objects: Vec<usize>,
    /// The image of each detection.
    pub images: Vec<usize>,
    /// By threshold: the mark of each detection.
    pub marks: [Vec<Mark>; THRESHOLDS.len()],
}

/// A detection as a rule reads it, with its marks once it has been compared.
#[derive(Clone, Copy)]
struct Marked {
    edges: [f64; 4],
    category: u32,
    score: f64,
    marks: [Mark; THRESHOLDS.len()],
}

/// An object as a rule reads it.
struct Target {
    edges: [f64; 4],
    difficult: bool,
}

impl Marks {
    /// Compares the detections with the objects, at every threshold. Detections of equal score are in the order of the
    /// images, then in their order in the image.
    ///
    /// # Errors
    /// When a number is not finite, an edge lies beyond the opposite one, a category is not below `classes`, or there
    /// is no object that is not difficult.
    pub fn new(images: &[DetectedImage], classes: usize, matching: Matching) -> Result<Self> {
        for (i, image) in images.iter().enumerate() {
            image.check(classes).map_err(|error| error.context(format!("image {i}")))?;
        }
        let marked: Vec<Vec<Marked>> = images.par_iter().map(|image| matching.mark(image)).collect();
        let mut detections = vec![Vec::new(); classes];
        for (i, marked) in marked.into_iter().enumerate() {
            marked.into_iter().for_each(|one| detections[one.category as usize].push((i, one)));
        }
        let mut objects = vec![Vec::new(); classes];
        for (i, image) in images.iter().enumerate() {
            let counted = image.objects.iter().filter(|object| !object.difficult);
            counted.for_each(|object| objects[object.category as usize].push(i));
        }
        if objects.iter().all(Vec::is_empty) {
            return Err(Error::new(format!("none of {} images has an object that is not difficult", images.len())));
        }
        let classes = objects.into_iter().zip(detections).map(|(objects, found)| ClassMarks::new(objects, found));
        Ok(Self { images: images.len(), classes: classes.collect() })
    }

    /// The marks of the detections of a category by descending score, at a threshold in percent.
    ///
    /// # Panics
    /// When there is no such category or threshold.
    pub fn of(&self, category: usize, percent: u32) -> &[Mark] {
        let threshold = THRESHOLDS.iter().position(|&threshold| threshold == percent);
        let threshold = threshold.unwrap_or_else(|| panic!("an IoU of {percent} %, but there is {THRESHOLDS:?}"));
        &self.classes[category].marks[threshold]
    }
}

impl ClassMarks {
    /// Sorts detections, each with its image, by score; equal scores stay in order.
    fn new(objects: Vec<usize>, mut found: Vec<(usize, Marked)>) -> Self {
        found.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
        let images = found.iter().map(|&(image, _)| image).collect();
        let marks = array::from_fn(|threshold| found.iter().map(|(_, one)| one.marks[threshold]).collect());
        Self { objects, images, marks }
    }
}

impl DetectedImage {
    fn check(&self, classes: usize) -> Result<()> {
        for (i, object) in self.objects.iter().enumerate() {
            check_box(object.edges, object.category, classes).map_err(|error| error.context(format!("object {i}")))?;
        }
        for (i, one) in self.detections.iter().enumerate() {
            let context = |error: Error| error.context(format!("detection {i}"));
            check_finite(one).and_then(|()| check_box(one.edges, one.category, classes)).map_err(context)?;
        }
        Ok(())
    }
}

fn check_finite(detection: &Detection) -> Result<()> {
    let Detection { edges, score, .. } = detection;
    if score.is_finite() && edges.iter().all(|edge| edge.is_finite()) {
        return Ok(());
    }
    Err(Error::diverged(format!("score {score} and edges {edges:?} are not all finite numbers"))
        .hint("the detector has diverged: look at its loss with `sempair show RUN`"))
}

fn check_box(edges: [f32; 4], category: u32, classes: usize) -> Result<()> {
    let [left, top, right, bottom] = edges;
    let ordered = left <= right && top <= bottom; // false with NaN
    if !ordered || edges.iter().any(|edge| edge.is_infinite()) {
        return Err(Error::new(format!("the edges {edges:?} (left, top, right, bottom) are not those of a box")));
    }
    if category as usize >= classes {
        return Err(Error::new(format!("category {category}, but there are {classes} categories")));
    }
    Ok(())
}

impl Matching {
    /// Marks the detections of one image, in an order that keeps equal scores of a category in their order.
    fn mark(self, image: &DetectedImage) -> Vec<Marked> {
        let mut found: Vec<Marked> = image.detections.iter().map(|detection| self.read(detection)).collect();
        found.sort_by(|a, b| a.category.cmp(&b.category).then(b.score.total_cmp(&a.score)));
        let mut marked = Vec::with_capacity(found.len());
        for group in found.chunk_by_mut(|a, b| a.category == b.category) {
            let category = group[0].category;
            let objects = image.objects.iter().filter(|object| object.category == category);
            let objects: Vec<Target> = objects.map(|object| self.target(object)).collect();
            marked.extend_from_slice(self.mark_category(group, &objects));
        }
        marked
    }

    /// Marks the detections of one category in one image, by descending score, and returns those that count.
    fn mark_category<'a>(self, found: &'a mut [Marked], objects: &[Target]) -> &'a [Marked] {
        let count = if self == Self::Coco { found.len().min(COCO_DETECTIONS) } else { found.len() };
        let found = &mut found[..count];
        for (at, percent) in THRESHOLDS.into_iter().enumerate() {
            // COCO's 90 % is the next float below 0.9, which only a rounding error could reach.
            let threshold = f64::from(percent) / 100.0;
            let mut taken = vec![false; objects.len()];
            for one in &mut *found {
                one.marks[at] = match self {
                    Self::Coco => coco_mark(one.edges, objects, threshold, &mut taken),
                    Self::Voc | Self::VocPrinted => self.voc_mark(one.edges, objects, threshold, &mut taken),
                };
            }
        }
        found
    }

    fn read(self, detection: &Detection) -> Marked {
        let Detection { edges, category, score } = *detection;
        let (edges, score) = match self {
            Self::VocPrinted => (from_one(edges).map(|edge| printed(edge, 1)), printed(score, 3)),
            Self::Voc | Self::Coco => (edges.map(f64::from), f64::from(score)),
        };
        // -0 + 0 is 0: otherwise the total order would put -0 behind 0.
        Marked { edges, category, score: score + 0.0, marks: [Mark::False; THRESHOLDS.len()] }
    }

    fn target(self, object: &GroundTruth) -> Target {
        let edges = if self == Self::VocPrinted { from_one(object.edges) } else { object.edges };
        Target { edges: edges.map(f64::from), difficult: object.difficult }
    }

    /// How much longer a side is than the difference of its edges: printed edges are the first and the last pixel.
    fn inclusive(self) -> f64 {
        if self == Self::VocPrinted { 1.0 } else { 0.0 }
    }

    fn voc_mark(self, edges: [f64; 4], objects: &[Target], threshold: f64, taken: &mut [bool]) -> Mark {
        let overlaps = objects.iter().map(|object| iou(edges, object.edges, self.inclusive())).enumerate();
        // `max_by` returns the last of equals, and the rule wants the first.
        let best = overlaps.rev().max_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((best, _)) = best.filter(|(_, overlap)| *overlap > threshold) else {
            return Mark::False;
        };
        if objects[best].difficult {
            return Mark::Ignored;
        }
        if mem::replace(&mut taken[best], true) { Mark::False } else { Mark::Hit }
    }
}

fn coco_mark(edges: [f64; 4], objects: &[Target], threshold: f64, taken: &mut [bool]) -> Mark {
    let counted = objects.iter().enumerate().filter(|(i, object)| !object.difficult && !taken[*i]);
    let overlaps = counted.map(|(i, object)| (i, iou(edges, object.edges, 0.0)));
    let best = overlaps.filter(|(_, overlap)| *overlap >= threshold).max_by(|(_, a), (_, b)| a.total_cmp(b));
    if let Some((best, _)) = best {
        taken[best] = true;
        return Mark::Hit;
    }
    let in_crowd = |object: &Target| object.difficult && share(edges, object.edges) >= threshold;
    if objects.iter().any(in_crowd) { Mark::Ignored } else { Mark::False }
}

/// The edges of pixels that count from 1: only the left and top edge change. Detectron2 adds in f32 too.
fn from_one([left, top, right, bottom]: [f32; 4]) -> [f32; 4] {
    [left + 1.0, top + 1.0, right, bottom]
}

/// The number that is read from text with so many decimals. The text is the binary value correctly rounded, ties to
/// even, as in Python.
fn printed(value: f32, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().expect("the text of a finite number is a number")
}

fn area([left, top, right, bottom]: [f64; 4], inclusive: f64) -> f64 {
    (right - left + inclusive) * (bottom - top + inclusive)
}

fn intersection(a: [f64; 4], b: [f64; 4], inclusive: f64) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]) + inclusive;
    let height = a[3].min(b[3]) - a[1].max(b[1]) + inclusive;
    width.max(0.0) * height.max(0.0)
}

/// The intersection over union; 0 for boxes that do not meet, even if both are empty.
fn iou(a: [f64; 4], b: [f64; 4], inclusive: f64) -> f64 {
    let both = intersection(a, b, inclusive);
    if both > 0.0 { both / (area(a, inclusive) + area(b, inclusive) - both) } else { 0.0 }
}

/// The share of the area of `a` that lies in `b`.
fn share(a: [f64; 4], b: [f64; 4]) -> f64 {
    let both = intersection(a, b, 0.0);
    if both > 0.0 { both / area(a, 0.0) } else { 0.0 }
}
