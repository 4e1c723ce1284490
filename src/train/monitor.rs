//! Pairs of images on which a training's health is measured. They are always semantic pairs, whatever the training
//! learns from, so that trainings can be compared.

use crate::data::augment::{Pipeline, plain};
use crate::data::image_set::ImageSet;
use crate::error::Result;
use crate::eval::{Features, Health};
use crate::models::AnyNetwork;
use crate::tensor::AnyDevice;

/// Pairs of different images of one category, as indices into the training's images.
#[derive(Clone, Debug, Default)]
pub struct MonitorPairs(Vec<(u32, u32)>);

/// The images of the pairs: all first images, then all second images.
pub(super) struct MonitorImages {
    /// (2N, size, size, 3), normalised.
    pixels: Vec<f32>,
    labels: Vec<u32>,
    classes: usize,
}

impl MonitorPairs {
    /// The maximum number of pairs.
    const MOST: usize = 256;

    /// Selects some of the semantic pairs, evenly spaced.
    pub fn of(pairs: &[(u32, u32)]) -> Self {
        let count = pairs.len().min(Self::MOST);
        Self((0..count).map(|i| pairs[i * pairs.len() / count]).collect())
    }

    /// Returns the images, prepared as for evaluation.
    pub(super) fn images(&self, set: &ImageSet, pipeline: &Pipeline) -> MonitorImages {
        let floats = pipeline.floats();
        let places: Vec<u32> = self.0.iter().map(|pair| pair.0).chain(self.0.iter().map(|pair| pair.1)).collect();
        let mut pixels = vec![0.0; places.len() * floats];
        for (&place, out) in places.iter().zip(pixels.chunks_exact_mut(floats)) {
            plain(set.image(place as usize), set.size, pipeline.size(), pipeline.normalization(), out);
        }
        let labels = places[..self.0.len()].iter().map(|&place| set.labels[place as usize]).collect();
        MonitorImages { pixels, labels, classes: set.classes.len() }
    }
}

impl MonitorImages {
    /// Measures the network's health on these images.
    pub(super) fn health(&self, epoch: usize, network: &dyn AnyNetwork<AnyDevice>) -> Result<Health> {
        let backbone = network.backbone();
        let features = backbone.features(&self.pixels);
        let projections = network.project(&self.pixels);
        let half = features.len() / 2;
        let side = |values: &[f32]| Features::new(values.to_vec(), self.labels.clone(), backbone.width(), self.classes);
        let width = projections.len() / (2 * self.labels.len());
        Health::of(epoch, &projections, width, &side(&features[..half])?, &side(&features[half..])?)
    }
}
