//! Average precision of detections: precision-recall curves and the ways to average them of PASCAL VOC and COCO
//! (Everingham et al. 2010, <https://doi.org/10.1007/s11263-009-0275-4>).

use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

use crate::eval::matching::ClassMarks;
use crate::eval::matching::Mark;
use crate::eval::matching::Marks;
use crate::eval::matching::THRESHOLDS;

/// How a precision-recall curve is averaged. The interpolated precision at a recall is the highest precision at this
/// recall or above, or 0 if the recall is not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Mean of the interpolated precision at recalls 0, 0.1 .. 1: VOC until 2009, and Detectron2 for VOC2007.
    ElevenPoints,
    /// Mean of the interpolated precision at recalls 0, 0.01 .. 1: COCO.
    HundredOnePoints,
    /// Area below the interpolated precision: VOC since 2010.
    Area,
}

/// Average precision in percent, of a category or as a mean over categories; or its difference or error, in points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragePrecision {
    /// With the IoU threshold 0.50.
    pub ap50: f64,
    /// Mean over the ten thresholds 0.50, 0.55 .. 0.95.
    pub ap: f64,
    /// With the IoU threshold 0.75.
    pub ap75: f64,
}

/// The result of a detector on a set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectionResult {
    /// Mean over the categories that have an object that counts.
    pub mean: AveragePrecision,
    /// Each category.
    pub categories: Vec<CategoryResult>,
}

/// The result for one category.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryResult {
    /// Number of objects that are not difficult.
    pub objects: usize,
    /// Number of detections.
    pub detections: usize,
    /// 0 if nothing was detected; none if there is no object that counts.
    pub average_precision: Option<AveragePrecision>,
}

/// A precision-recall curve: its points after each hit, by descending score. Between two hits recall does not change
/// and precision falls, so the other points do not affect any average.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve(Vec<Point>);

/// A point of a precision-recall curve: what holds for the detections with this score or a higher one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Share of the objects that are found, in 0..=1.
    pub recall: f64,
    /// Share of the detections that are hits, in 0..=1.
    pub precision: f64,
    /// The highest precision here or at a later point.
    pub interpolated: f64,
}

impl AveragePrecision {
    /// Computes each of the three from the function that reads it.
    pub(super) fn each(compute: impl Fn(fn(&Self) -> f64) -> f64) -> Self {
        Self { ap50: compute(|all| all.ap50), ap: compute(|all| all.ap), ap75: compute(|all| all.ap75) }
    }

    /// The mean; none of none.
    pub(super) fn mean(all: &[Self]) -> Option<Self> {
        let mean = |read: fn(&Self) -> f64| all.iter().map(read).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| Self::each(mean))
    }

    /// From the values in percent at the ten thresholds.
    fn from_thresholds(values: [f64; THRESHOLDS.len()]) -> Self {
        Self { ap50: values[0], ap: values.iter().sum::<f64>() / values.len() as f64, ap75: values[5] }
    }
}

impl DetectionResult {
    /// The numbers of the categories that are not in the mean, because they have no object that counts.
    pub fn left_out(&self) -> Vec<usize> {
        let categories = self.categories.iter().enumerate();
        categories.filter(|(_, category)| category.average_precision.is_none()).map(|(i, _)| i).collect()
    }
}

impl Marks {
    /// Average precision: means and each category.
    pub fn result(&self, interpolation: Interpolation) -> DetectionResult {
        let once = vec![1; self.images];
        let category = |class: &ClassMarks| CategoryResult {
            objects: class.objects.len(),
            detections: class.images.len(),
            average_precision: class.average_precision(&once, interpolation),
        };
        let categories: Vec<CategoryResult> = self.classes.par_iter().map(category).collect();
        let there: Vec<AveragePrecision> = categories.iter().filter_map(|one| one.average_precision).collect();
        let mean = AveragePrecision::mean(&there).expect("marks have an object that counts");
        DetectionResult { mean, categories }
    }

    /// The curve of a category at an IoU threshold in percent; empty if nothing is hit.
    ///
    /// # Panics
    /// When there is no such category or threshold.
    pub fn curve(&self, category: usize, percent: u32) -> Curve {
        let (marks, class) = (self.of(category, percent), &self.classes[category]);
        Curve::new(marks, &vec![1; marks.len()], class.objects.len() as u64)
    }

    /// The means if each image were in the set `weights[image]` times; none if no object were.
    pub(super) fn weighted(&self, weights: &[u64], interpolation: Interpolation) -> Option<AveragePrecision> {
        let categories = self.classes.iter().filter_map(|class| class.average_precision(weights, interpolation));
        AveragePrecision::mean(&categories.collect::<Vec<_>>())
    }
}

impl ClassMarks {
    /// None if the objects of this category have no weight.
    fn average_precision(&self, weights: &[u64], interpolation: Interpolation) -> Option<AveragePrecision> {
        let objects: u64 = self.objects.iter().map(|&image| weights[image]).sum();
        let weights: Vec<u64> = self.images.iter().map(|&image| weights[image]).collect();
        let of = |marks: &Vec<Mark>| 100.0 * Curve::new(marks, &weights, objects).average_precision(interpolation);
        (objects > 0).then(|| AveragePrecision::from_thresholds(self.marks.each_ref().map(of)))
    }
}

impl Curve {
    /// From the marks by descending score, how often each counts, and how many objects there are.
    fn new(marks: &[Mark], weights: &[u64], objects: u64) -> Self {
        let (mut hits, mut falses, mut points) = (0, 0, Vec::new());
        for (mark, &weight) in marks.iter().zip(weights) {
            match mark {
                // A hit without weight adds no point: it may come before anything that has weight.
                Mark::Hit if weight > 0 => {
                    hits += weight;
                    let (recall, precision) = (hits as f64 / objects as f64, hits as f64 / (hits + falses) as f64);
                    points.push(Point { recall, precision, interpolated: precision });
                }
                Mark::False => falses += weight,
                Mark::Hit | Mark::Ignored => {}
            }
        }
        let mut best: f64 = 0.0;
        for point in points.iter_mut().rev() {
            best = best.max(point.precision);
            point.interpolated = best;
        }
        Self(points)
    }

    /// The points by rising recall.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// The highest precision at this recall or above; 0 if the recall is not reached.
    pub fn interpolated(&self, recall: f64) -> f64 {
        let at = self.0.partition_point(|point| point.recall < recall);
        self.0.get(at).map_or(0.0, |point| point.interpolated)
    }

    /// Average precision in 0..=1.
    pub fn average_precision(&self, interpolation: Interpolation) -> f64 {
        match interpolation {
            Interpolation::ElevenPoints => self.mean_over(11, 0.1),
            Interpolation::HundredOnePoints => self.mean_over(101, 0.01),
            Interpolation::Area => self.area(),
        }
    }

    /// Mean at recalls 0, step, 2 step .. The products are those of numpy's `arange` and `linspace`: 3 x 0.1 is above
    /// 0.3, so that 3 of 10 objects do not reach it.
    fn mean_over(&self, count: u32, step: f64) -> f64 {
        (0..count).map(|k| self.interpolated(f64::from(k) * step)).sum::<f64>() / f64::from(count)
    }

    fn area(&self) -> f64 {
        let before = std::iter::once(0.0).chain(self.0.iter().map(|point| point.recall));
        self.0.iter().zip(before).map(|(point, before)| (point.recall - before) * point.interpolated).sum()
    }
}
