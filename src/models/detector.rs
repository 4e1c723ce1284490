//! The network of Faster R-CNN (Ren et al. 2015, <https://arxiv.org/abs/1506.01497>) in the form that papers on
//! self-supervised learning use, "C4": the trunk of an encoder without its last stage finds regions (first stage), and the
//! encoder's last stage runs on each region (second stage). So all weights of the encoder are transferred.
//!
//! This file only connects layers. Matching, sampling, losses and suppression work on predictions in host memory: see
//! `detection`, which implements [`Targets`].

use crate::nn::{BatchNorm, Build, Builder, Conv2d, GlobalAveragePool, Layer, Parameters, Predictor, Relu, RoiAlign};
use crate::tensor::{Const, Device, Images, Maps, Matrix, Region, Tensor, Vectors};

use super::encoder::Pixels;

/// The names of a detector's own parameters begin with this; all others are named as in the encoder.
pub const OWN: &str = "detector.";

/// What is chosen when a detector is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorShape {
    /// A: anchors at each position.
    pub anchors: usize,
    /// K: categories, without the background.
    pub categories: usize,
    /// P: height and width of a region's map before the last stage.
    pub side: usize,
    /// Samples of each bin of a region along an axis; 0: as many as there are positions in it, rounded up.
    pub samples: usize,
}

/// Which parameters of a detector learn. The others are those of the encoder, with its running moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learns {
    /// All, as in the published protocols.
    All,
    /// The last stage and the new layers.
    Head,
    /// The new layers alone.
    New,
}

/// The predictions of one stage, or their gradient, in host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// First stage: objectness of each anchor, (H, W, N, A). Second stage: a score of each category and then of the
    /// background for each region, (R, K + 1).
    pub logits: Vec<f32>,
    /// First stage: the offsets of each anchor, (H, W, N, A, 4). Second stage: those of each region for each category,
    /// (R, K, 4).
    pub deltas: Vec<f32>,
}

/// What training asks from outside the network. Returned gradients have the lengths of the predictions.
pub trait Targets {
    /// Given the first stage's predictions on maps of (height, width), returns their gradient and the regions that the
    /// second stage learns from, at least one.
    fn first(&mut self, map: (usize, usize), predictions: &Predictions) -> (Predictions, Vec<Region>);
    /// Given the second stage's predictions for these regions, returns their gradient.
    fn second(&mut self, predictions: &Predictions) -> Predictions;
}

/// Chooses regions from the first stage's predictions on maps of (height, width).
pub type Propose<'a> = &'a mut dyn FnMut((usize, usize), &Predictions) -> Vec<Region>;

/// The network of a detector on any encoder.
pub trait AnyDetector<D: Device> {
    /// Pixels of an image per position of the map in which regions are found.
    fn stride(&self) -> usize;
    /// The name of the encoder's stage that runs on regions.
    fn last_stage(&self) -> &'static str;
    /// Runs both stages in training mode on `images`, and the backward pass: adds the gradients of what `learns`.
    fn train(&self, images: Pixels<'_>, learns: Learns, targets: &mut dyn Targets, parameters: &mut Parameters<D>);
    /// Runs both stages in evaluation mode, and returns the predictions of the second for the proposed regions.
    fn infer(&self, images: Pixels<'_>, propose: Propose<'_>, parameters: &Parameters<D>) -> Predictions;
}

/// A detector whose trunk has `C` channels and whose last stage has `F`.
struct Detector<Front, Last, const C: usize, const F: usize> {
    front: Front,
    hidden: Conv2d<C, C, 3, 1, true>,
    objectness: Predictor<C>,
    offsets: Predictor<C>,
    align: RoiAlign,
    last: Last,
    last_stage: &'static str,
    /// After the last stage's ReLU: without it, the pretrained stage is not stable at the rates of detection.
    norm: BatchNorm<F>,
    categories: Predictor<F>,
    boxes: Predictor<F>,
}

/// Builds a detector. `last_stage` is the name of the encoder's last stage, `stride` that of the stages before it. New weights
/// have the standard deviations of detectron2.
pub(super) fn build<D: Device, Front, Last, const C: usize, const F: usize>(
    shape: &DetectorShape,
    (last_stage, stride): (&'static str, usize),
    builder: &mut Builder<'_>,
) -> Box<dyn AnyDetector<D>>
where
    Front: Build + Layer<D, Images<usize>, Output = Maps<C, usize>> + 'static,
    Last: Build + Layer<D, Maps<C, usize>, Output = Maps<F, usize>> + 'static,
{
    let &DetectorShape { anchors, categories, side, samples } = shape;
    let (front, last) = (Front::build(builder), builder.scope(last_stage, Last::build));
    Box::new(builder.scope(OWN.trim_end_matches('.'), |builder| Detector {
        front,
        hidden: Conv2d::normal(builder, 0.01),
        objectness: Predictor::new(builder, "objectness", anchors, 0.01),
        offsets: Predictor::new(builder, "offsets", 4 * anchors, 0.01),
        align: RoiAlign { side, stride, samples },
        last,
        last_stage,
        norm: BatchNorm::<F>::build(builder),
        categories: Predictor::new(builder, "categories", categories + 1, 0.01),
        boxes: Predictor::new(builder, "boxes", 4 * categories, 0.001),
    }))
}

/// What the backward pass of two predictors of one input needs, and the widths of their predictions.
struct SavedPair<D: Device, const I: usize> {
    x: Tensor<Vectors<I>, D>,
    shapes: [Matrix; 2],
}

/// Computes two predictions from one input.
fn forward_pair<D: Device, const I: usize>(
    [logits, deltas]: [&Predictor<I>; 2],
    x: Tensor<Vectors<I>, D>,
    parameters: &Parameters<D>,
) -> (Predictions, SavedPair<D, I>) {
    let (logits, deltas) = (logits.infer(x.clone(), parameters), deltas.infer(x.clone(), parameters));
    let shapes = [logits.shape(), deltas.shape()];
    (Predictions { logits: logits.download(), deltas: deltas.download() }, SavedPair { x, shapes })
}

/// Adds the gradients of both predictors and returns that of their input.
fn backward_pair<D: Device, const I: usize>(
    [logits, deltas]: [&Predictor<I>; 2],
    SavedPair { x, shapes }: SavedPair<D, I>,
    gradient: &Predictions,
    parameters: &mut Parameters<D>,
) -> Tensor<Vectors<I>, D> {
    let upload = |shape, values: &[f32]| Tensor::upload(x.device(), shape, values);
    let (dlogits, ddeltas) = (upload(shapes[0], &gradient.logits), upload(shapes[1], &gradient.deltas));
    let dx = logits.backward(x.clone(), dlogits, parameters);
    deltas.backward_onto(x, ddeltas, dx, parameters)
}

/// The rows of maps, (H W N, C).
fn rows<D: Device, const C: usize>(maps: Tensor<Maps<C, usize>, D>) -> Tensor<Vectors<C>, D> {
    let (batch, _, height, width) = maps.shape();
    maps.reshape((height * width * batch, Const))
}

impl<D: Device, Front, Last, const C: usize, const F: usize> AnyDetector<D> for Detector<Front, Last, C, F>
where
    Front: Layer<D, Images<usize>, Output = Maps<C, usize>>,
    Last: Layer<D, Maps<C, usize>, Output = Maps<F, usize>>,
{
    fn stride(&self) -> usize {
        self.align.stride
    }

    fn last_stage(&self) -> &'static str {
        self.last_stage
    }

    fn train(&self, images: Pixels<'_>, learns: Learns, targets: &mut dyn Targets, parameters: &mut Parameters<D>) {
        let images = images.upload(&parameters.device);
        let (maps, of_front) = match learns {
            Learns::All => kept(self.front.forward(images, parameters)),
            Learns::Head | Learns::New => (self.front.infer(images, parameters), None),
        };
        let shape = maps.shape();
        let (hidden, of_hidden) = self.hidden.forward(maps.clone(), parameters);
        let (hidden, of_relu) = Relu.forward(hidden, parameters);
        let (first, of_first) = forward_pair([&self.objectness, &self.offsets], rows(hidden), parameters);
        let (dfirst, regions) = targets.first((shape.2, shape.3), &first);
        let dregions = self.train_second(&maps, &regions, learns, targets, parameters);

        let drows = backward_pair([&self.objectness, &self.offsets], of_first, &dfirst, parameters);
        let dhidden = Relu.backward(of_relu, drows.reshape(shape), parameters);
        match (of_front, dregions) {
            (Some(of_front), Some(dregions)) => {
                let dmaps = self.align.backward(shape, &dregions, &regions);
                let dmaps = self.hidden.backward_onto(of_hidden, dhidden, dmaps, parameters);
                self.front.backward_parameters(of_front, dmaps, parameters);
            }
            _ => self.hidden.backward_parameters(of_hidden, dhidden, parameters),
        }
    }

    fn infer(&self, images: Pixels<'_>, propose: Propose<'_>, parameters: &Parameters<D>) -> Predictions {
        let maps = self.front.infer(images.upload(&parameters.device), parameters);
        let shape = maps.shape();
        let hidden = Relu.infer(self.hidden.infer(maps.clone(), parameters), parameters);
        let (first, _) = forward_pair([&self.objectness, &self.offsets], rows(hidden), parameters);
        let regions = propose((shape.2, shape.3), &first);
        if regions.is_empty() {
            return Predictions::default();
        }
        let of_regions = self.last.infer(self.align.forward(&maps, &regions), parameters);
        let pooled = GlobalAveragePool.infer(self.norm.infer(of_regions, parameters), parameters);
        forward_pair([&self.categories, &self.boxes], pooled, parameters).0
    }
}

impl<Front, Last, const C: usize, const F: usize> Detector<Front, Last, C, F> {
    /// Trains the second stage. Returns the gradient of the regions' maps if the trunk learns.
    fn train_second<D: Device>(
        &self,
        maps: &Tensor<Maps<C, usize>, D>,
        regions: &[Region],
        learns: Learns,
        targets: &mut dyn Targets,
        parameters: &mut Parameters<D>,
    ) -> Option<Tensor<Maps<C, usize>, D>>
    where
        Last: Layer<D, Maps<C, usize>, Output = Maps<F, usize>>,
    {
        let of_regions = self.align.forward(maps, regions);
        let (y, of_last) = match learns {
            Learns::All | Learns::Head => kept(self.last.forward(of_regions, parameters)),
            Learns::New => (self.last.infer(of_regions, parameters), None),
        };
        let (y, of_norm) = self.norm.forward(y, parameters);
        let (pooled, of_pool) = GlobalAveragePool.forward(y, parameters);
        let (second, of_second) = forward_pair([&self.categories, &self.boxes], pooled, parameters);
        let gradient = targets.second(&second);
        let dpooled = backward_pair([&self.categories, &self.boxes], of_second, &gradient, parameters);
        let dy = GlobalAveragePool.backward(of_pool, dpooled, parameters);
        let dy = self.norm.backward(of_norm, dy, parameters);
        let of_last = of_last?;
        if learns == Learns::All {
            return Some(self.last.backward(of_last, dy, parameters));
        }
        self.last.backward_parameters(of_last, dy, parameters);
        None
    }
}

fn kept<Y, S>((y, saved): (Y, S)) -> (Y, Option<S>) {
    (y, Some(saved))
}
