//! Which object each box should find, and which boxes a step trains on.

use crate::rng::Key;
use crate::rng::Stream;

use super::boxes::Edges;
use super::boxes::overlaps;

/// What a box is trained to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The box of the object with this number.
    Positive(usize),
    /// Background.
    Negative,
    /// Neither: the box is not used.
    Ignored,
}

/// Gives each box its label, by its best object: the one with which its IoU is highest, the first of equals
/// (detectron2's `Matcher`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matcher {
    /// A box whose highest IoU is below this is negative; above 0.
    pub negative_below: f32,
    /// A box whose highest IoU is at least this is positive; above 0. Between both, it is ignored.
    pub positive_from: f32,
    /// Whether every box whose IoU with some object is the highest of that object is positive, too, so that each object
    /// has a box, however low the IoU. The box is still matched to its own best object, which may be another.
    pub best_are_positive: bool,
}

impl Matcher {
    /// Anchors with objects.
    pub const FIRST_STAGE: Self = Self { negative_below: 0.3, positive_from: 0.7, best_are_positive: true };
    /// Proposals with objects.
    pub const SECOND_STAGE: Self = Self { negative_below: 0.5, positive_from: 0.5, best_are_positive: false };

    /// The label of each box.
    pub fn label(&self, boxes: &[Edges], objects: &[Edges]) -> Vec<Label> {
        self.label_by_overlaps(&overlaps(objects, boxes), boxes.len())
    }

    /// The label of each box, given the IoU of every object with every box, (objects, boxes).
    ///
    /// # Panics
    /// When the IoUs are not rows of this number of boxes.
    pub fn label_by_overlaps(&self, overlaps: &[f32], boxes: usize) -> Vec<Label> {
        assert!(overlaps.len().is_multiple_of(boxes), "label: {} overlaps of {boxes} boxes", overlaps.len());
        let rows = overlaps.chunks_exact(boxes.max(1));
        let best = best_objects(rows.clone(), boxes);
        let mut labels: Vec<Label> = best.iter().map(|&(object, iou)| self.by_highest(object, iou)).collect();
        for at in rows.filter(|_| self.best_are_positive).flat_map(best_boxes) {
            labels[at] = Label::Positive(best[at].0);
        }
        labels
    }

    fn by_highest(&self, object: usize, iou: f32) -> Label {
        if iou >= self.positive_from {
            Label::Positive(object)
        } else if iou < self.negative_below {
            Label::Negative
        } else {
            Label::Ignored
        }
    }
}

/// The object whose IoU with each box is the highest, and the IoU. A box that meets no object has object 0 and IoU 0.
fn best_objects<'a>(rows: impl Iterator<Item = &'a [f32]>, boxes: usize) -> Vec<(usize, f32)> {
    let mut best = vec![(0, 0.0); boxes];
    for (object, row) in rows.enumerate() {
        let higher = best.iter_mut().zip(row).filter(|(best, iou)| **iou > best.1);
        higher.for_each(|(best, &iou)| *best = (object, iou));
    }
    best
}

/// The boxes whose IoU with an object is the highest, given its IoU with each box. An object that meets no box has none,
/// although its IoU with all of them is equal.
fn best_boxes(row: &[f32]) -> impl Iterator<Item = usize> {
    let highest = row.iter().copied().fold(0.0, f32::max);
    row.iter().enumerate().filter(move |(_, iou)| **iou == highest && highest > 0.0).map(|(at, _)| at)
}

/// A box that a step trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// The number of the box.
    pub index: usize,
    /// The number of its object; `None` for background.
    pub object: Option<usize>,
}

/// How many boxes of an image a step trains on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The number of boxes.
    pub count: usize,
    /// The largest share of them that is positive.
    pub positive_fraction: f32,
}

impl Sampler {
    /// Draws at most this share of `count` boxes from the positive ones and the rest from the negative ones; fewer than
    /// `count` if there are not enough negative ones (detectron2's `subsample_labels`). The positive ones come first.
    ///
    /// The result depends only on the labels and the key.
    pub fn sample(&self, labels: &[Label], key: Key) -> Vec<Sampled> {
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for (index, label) in labels.iter().enumerate() {
            match *label {
                Label::Positive(object) => positives.push(Sampled { index, object: Some(object) }),
                Label::Negative => negatives.push(Sampled { index, object: None }),
                Label::Ignored => {}
            }
        }
        let most = (self.count as f32 * self.positive_fraction) as usize;
        let mut sample = draw(positives, most.min(self.count), &mut key.split("positives").stream());
        let rest = self.count - sample.len();
        sample.extend(draw(negatives, rest, &mut key.split("negatives").stream()));
        sample
    }
}

/// `count` of the items at random, or all if there are fewer (the first `count` exchanges of Fisher-Yates).
fn draw<T>(mut items: Vec<T>, count: usize, stream: &mut Stream) -> Vec<T> {
    let count = count.min(items.len());
    for at in 0..count {
        let chosen = at + stream.below(items.len() - at);
        items.swap(at, chosen);
    }
    items.truncate(count);
    items
}
