//! Faster R-CNN on the predictions of a network: what a step learns from, and which objects are found in an image. All
//! of it works on host memory, as plain functions of the predictions; `models::detector` has the network.
//!
//! The first stage's predictions are (H, W, N, A): for position, image and anchor.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::models::{Predictions, Targets};
use crate::rng::Key;
use crate::tensor::Region;

use super::losses::{AnchorTarget, ObjectTarget, anchor_boxes, objectness, region_boxes, region_classes};
use super::{Anchors, Coder, Edges, Matcher, Sampler, boxes, nms, nms_by_class, top_k};

/// The largest IoU of two proposals of an image.
const PROPOSAL_OVERLAP: f32 = 0.7;
/// The largest IoU of two detections of one class in an image.
const DETECTION_OVERLAP: f32 = 0.5;
/// Only detections with a higher score are kept.
const LOWEST_SCORE: f32 = 0.05;
/// Detections with a lower score are not shown in pictures and reports.
pub const SHOWN: f32 = 0.5;
/// The share of positive anchors in a step, at most.
const POSITIVE_ANCHORS: f32 = 0.5;
/// The share of regions with an object in a step, at most.
const POSITIVE_REGIONS: f32 = 0.25;

/// How many candidates pass, and what they are. All thresholds are the same in every published protocol, so they are
/// constants of this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Square roots of the anchors' areas in pixels.
    pub anchor_sizes: Vec<f32>,
    /// Heights of the anchors divided by their widths.
    pub anchor_ratios: Vec<f32>,
    /// Anchors of an image that a step learns from.
    pub anchors_sampled: usize,
    /// The candidates of an image with the highest objectness, before overlapping ones are suppressed: in training and
    /// in evaluation.
    pub candidates: [usize; 2],
    /// Proposals of an image that remain, at most: in training and in evaluation.
    pub proposals: [usize; 2],
    /// Regions of an image that a step learns from.
    pub regions_sampled: usize,
    /// Height and width of a region's map before the encoder's last stage.
    pub region_side: usize,
    /// Detections of an image, at most.
    pub detections: usize,
}

impl Protocol {
    /// The anchors on a map with this stride in pixels.
    pub fn anchors(&self, stride: usize) -> Anchors {
        Anchors { sizes: self.anchor_sizes.clone(), ratios: self.anchor_ratios.clone(), stride }
    }

    /// The number of anchors at each position.
    pub fn anchors_per_position(&self) -> usize {
        self.anchor_sizes.len() * self.anchor_ratios.len()
    }
}

/// What is in an image of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Height and width of the image in pixels. The batch may have more rows and columns, which are padding.
    pub size: (usize, usize),
    /// The boxes of its objects.
    pub boxes: Vec<Edges>,
    /// The class of each.
    pub classes: Vec<usize>,
}

/// An object that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Its box in pixels.
    pub edges: Edges,
    /// Its class.
    pub class: usize,
    /// The probability of the class, above 0.05.
    pub score: f32,
}

/// The losses of a step. The sum is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLosses {
    /// First stage: whether an anchor has an object.
    pub objectness: f64,
    /// First stage: where the object is.
    pub anchors: f64,
    /// Second stage: which class a region has.
    pub classes: f64,
    /// Second stage: where its object is.
    pub regions: f64,
}

impl StepLosses {
    /// The loss of the step.
    pub fn sum(&self) -> f64 {
        self.objectness + self.anchors + self.classes + self.regions
    }
}

/// One step of training on a batch, to be given to [`AnyDetector::train`](crate::models::AnyDetector::train).
pub struct Step<'a> {
    protocol: &'a Protocol,
    anchors: Anchors,
    truths: &'a [Truth],
    key: Key,
    of_regions: Vec<Option<ObjectTarget>>,
    /// The losses, known after the step.
    pub losses: StepLosses,
}

impl<'a> Step<'a> {
    /// A step on images with these objects; `stride` is the detector's. Samples are drawn from `key`.
    pub fn new(protocol: &'a Protocol, stride: usize, truths: &'a [Truth], key: Key) -> Self {
        let (of_regions, losses) = (Vec::new(), StepLosses::default());
        Self { protocol, anchors: protocol.anchors(stride), truths, key, of_regions, losses }
    }

    /// The anchors of an image that the step learns from.
    fn anchor_targets(&self, anchors: &[Edges], image: usize) -> Vec<AnchorTarget> {
        let objects = &self.truths[image].boxes;
        let labels = Matcher::FIRST_STAGE.label(anchors, objects);
        let sampler = Sampler { count: self.protocol.anchors_sampled, positive_fraction: POSITIVE_ANCHORS };
        let layout = self.layout();
        let target = |sampled: super::Sampled| AnchorTarget {
            at: layout.at(image, sampled.index),
            deltas: sampled.object.map(|object| Coder::FIRST_STAGE.encode(anchors[sampled.index], objects[object])),
        };
        sampler.sample(&labels, self.key_of("anchors", image)).into_iter().map(target).collect()
    }

    /// The regions of an image that the step learns from, among the proposals and the boxes of the objects.
    fn region_targets(&self, mut proposals: Vec<Edges>, image: usize) -> Vec<(Region, Option<ObjectTarget>)> {
        let Truth { boxes: objects, classes, .. } = &self.truths[image];
        proposals.extend(objects);
        let labels = Matcher::SECOND_STAGE.label(&proposals, objects);
        let sampler = Sampler { count: self.protocol.regions_sampled, positive_fraction: POSITIVE_REGIONS };
        let target = |sampled: super::Sampled| {
            let edges = proposals[sampled.index];
            let object = |object: usize| ObjectTarget {
                class: classes[object],
                deltas: Coder::SECOND_STAGE.encode(edges, objects[object]),
            };
            (Region { image, edges }, sampled.object.map(object))
        };
        sampler.sample(&labels, self.key_of("regions", image)).into_iter().map(target).collect()
    }

    fn key_of(&self, purpose: &str, image: usize) -> Key {
        self.key.split(purpose).at(image as u64)
    }

    fn layout(&self) -> Layout {
        Layout { images: self.truths.len(), anchors: self.protocol.anchors_per_position() }
    }
}

impl Targets for Step<'_> {
    fn first(&mut self, map: (usize, usize), predictions: &Predictions) -> (Predictions, Vec<Region>) {
        let images = 0..self.truths.len();
        let anchors = self.anchors.of_map(map);
        let targets: Vec<Vec<AnchorTarget>> =
            images.clone().into_par_iter().map(|image| self.anchor_targets(&anchors, image)).collect();
        let targets = targets.concat();
        let divisor = self.protocol.anchors_sampled * self.truths.len();
        let objectness = objectness(&predictions.logits, &targets, divisor);
        let offsets = anchor_boxes(&predictions.deltas, &targets, 0.0, divisor);
        (self.losses.objectness, self.losses.anchors) = (objectness.value, offsets.value);

        let of_image = |image: usize| {
            let size = self.truths[image].size;
            let limits = (self.protocol.candidates[0], self.protocol.proposals[0]);
            self.region_targets(proposals(&anchors, self.layout().of_image(predictions, image), size, limits), image)
        };
        let regions: Vec<_> = images.into_par_iter().map(of_image).collect();
        let (regions, of_regions) = regions.concat().into_iter().unzip();
        self.of_regions = of_regions;
        (Predictions { logits: objectness.gradient, deltas: offsets.gradient }, regions)
    }

    fn second(&mut self, predictions: &Predictions) -> Predictions {
        let classes = region_classes(&predictions.logits, &self.of_regions);
        let offsets = region_boxes(&predictions.deltas, &self.of_regions, 0.0);
        (self.losses.classes, self.losses.regions) = (classes.value, offsets.value);
        Predictions { logits: classes.gradient, deltas: offsets.gradient }
    }
}

/// The regions of images of these sizes that may have objects, image by image.
pub fn propose(
    protocol: &Protocol,
    anchors: &Anchors,
    sizes: &[(usize, usize)],
    map: (usize, usize),
    predictions: &Predictions,
) -> Vec<Region> {
    let layout = Layout { images: sizes.len(), anchors: protocol.anchors_per_position() };
    let anchors = anchors.of_map(map);
    let limits = (protocol.candidates[1], protocol.proposals[1]);
    let of_image = |image: usize| {
        let found = proposals(&anchors, layout.of_image(predictions, image), sizes[image], limits);
        found.into_iter().map(|edges| Region { image, edges }).collect::<Vec<_>>()
    };
    (0..sizes.len()).into_par_iter().map(of_image).collect::<Vec<_>>().concat()
}

/// The objects in images of these sizes, from the second stage's predictions for the proposed regions: for each image,
/// from the highest score to the lowest.
pub fn detect(
    protocol: &Protocol,
    sizes: &[(usize, usize)],
    regions: &[Region],
    predictions: &Predictions,
) -> Vec<Vec<Detection>> {
    let classes = predictions.logits.len() / regions.len().max(1);
    let of_image = |image: usize| {
        let (mut found, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for (r, region) in regions.iter().enumerate().filter(|(_, region)| region.image == image) {
            let probabilities = softmax(&predictions.logits[r * classes..][..classes]);
            for class in (0..classes - 1).filter(|&class| probabilities[class] > LOWEST_SCORE) {
                let deltas = quadruple(&predictions.deltas, r * (classes - 1) + class);
                found.push(boxes::clip(Coder::SECOND_STAGE.decode(region.edges, deltas), sizes[image]));
                scores.push(probabilities[class]);
                kinds.push(class);
            }
        }
        let kept = nms_by_class(&found, &scores, &kinds, DETECTION_OVERLAP, protocol.detections).into_iter();
        let detection = |at: usize| Detection { edges: found[at], class: kinds[at], score: scores[at] };
        kept.map(detection).filter(|detection| !boxes::is_empty(detection.edges)).collect()
    };
    (0..sizes.len()).into_par_iter().map(of_image).collect()
}

/// The places of an image's anchors among the predictions of the first stage.
#[derive(Clone, Copy)]
struct Layout {
    images: usize,
    anchors: usize,
}

impl Layout {
    /// The place of the anchor with this number among those of an image, (H, W, A).
    fn at(self, image: usize, anchor: usize) -> usize {
        let (position, kind) = (anchor / self.anchors, anchor % self.anchors);
        (position * self.images + image) * self.anchors + kind
    }

    /// The predictions for an image, (H, W, A).
    fn of_image(self, predictions: &Predictions, image: usize) -> Predictions {
        let places = (0..predictions.logits.len() / self.images).map(|anchor| self.at(image, anchor));
        Predictions {
            logits: places.clone().map(|at| predictions.logits[at]).collect(),
            deltas: places.flat_map(|at| quadruple(&predictions.deltas, at)).collect(),
        }
    }
}

/// The boxes in an image that are most likely to have objects, from the first stage's predictions for this image.
fn proposals(
    anchors: &[Edges],
    of_image: Predictions,
    size: (usize, usize),
    (candidates, kept): (usize, usize),
) -> Vec<Edges> {
    let moved = |at: usize| Coder::FIRST_STAGE.decode(anchors[at], quadruple(&of_image.deltas, at));
    let best = top_k(&of_image.logits, candidates).into_iter();
    let best = best.map(|at| (boxes::clip(moved(at), size), of_image.logits[at]));
    let (found, scores): (Vec<_>, Vec<_>) = best.filter(|(edges, _)| !boxes::is_empty(*edges)).unzip();
    nms(&found, &scores, PROPOSAL_OVERLAP, kept).into_iter().map(|at| found[at]).collect()
}

fn quadruple(values: &[f32], at: usize) -> [f32; 4] {
    std::array::from_fn(|k| values[4 * at + k])
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&z| libm::exp(f64::from(z - largest))).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}
