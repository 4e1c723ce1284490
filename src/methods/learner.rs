//! What every method has: hyperparameters with a recipe, a step, a state that checkpoints hold.

use dfdx::prelude::Dtype;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::models::{AnyNetwork, ModelSpec};
use crate::nn::Parameters;
use crate::optim::Recipe;
use crate::rng::Key;
use crate::tensor::Device;

/// What a method's file says of its hyperparameters.
pub(super) trait MethodSettings {
    /// Optimiser, learning rate, decay.
    fn recipe(&self) -> &Recipe;
    /// The small views that the method wants of each pair.
    fn crops(&self) -> Crops {
        Crops::default()
    }
    /// See [`Method::start`](super::Method::start).
    fn start<D: Device>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>>;
    /// See [`Method::validate`](super::Method::validate).
    fn validate(&self, key: &str) -> Result<()>;
}

/// Sizes of a method's heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// For small images and encoders.
    Small,
    /// As the method's paper has them.
    Paper,
}

/// Cells of the grid that a jigsaw cuts an image into.
pub(super) const JIGSAW_CELLS: usize = 9;

/// Small views of a pair, of half the side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Crops {
    /// No small views.
    #[default]
    None,
    /// So many random crops, in turn of the pair's first and second image.
    Random(usize),
    /// The cells of a 3x3 grid over the second image, shuffled.
    Jigsaw,
}

impl Crops {
    /// Small views of a pair.
    pub fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Random(count) => count,
            Self::Jigsaw => JIGSAW_CELLS,
        }
    }
}

/// What a method starts from.
pub struct Start<D: Device> {
    /// The encoder.
    pub spec: ModelSpec,
    /// Where to compute.
    pub device: D,
    /// The network's first values descend from it.
    pub initialisation: Key,
    /// Whatever a method draws while it trains descends from it.
    pub draws: Key,
    /// Pairs in the training set.
    pub pairs: usize,
    /// Categories of the set that they are from.
    pub categories: usize,
    /// Pairs of a step.
    pub batch: usize,
}

/// What a step sees.
pub struct Batch<'a> {
    /// (2N, image, image, 3): all first views, then all second ones.
    pub images: &'a [f32],
    /// (M N, image / 2, image / 2, 3): the first random crop of each pair, then the second, ..; or the nine cells of the
    /// first pair's jigsaw, then those of the second's, ..
    pub crops: &'a [f32],
    /// The place of each pair in the training set: N.
    pub pairs: &'a [u32],
    /// The category of each pair, for training with labels and for label-aware variants only: N.
    pub categories: &'a [u32],
}

/// Where a training stands.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
}

impl Moment {
    /// Epochs done.
    pub fn epoch(self) -> usize {
        self.step / self.steps_per_epoch
    }

    /// Whether an epoch begins.
    pub fn begins_epoch(self) -> bool {
        self.step.is_multiple_of(self.steps_per_epoch)
    }
}

/// A method at work: its networks and its state.
pub trait Learner<D: Device> {
    /// The network that learns; gradients are in its parameters.
    fn network(&self) -> &dyn AnyNetwork<D>;
    /// Whether it is to be shown the pairs of an epoch before the first one.
    fn remembers(&self) -> bool {
        false
    }
    /// Takes in a batch of that pass. Nothing is learned from it: of the network only running statistics move.
    fn remember(&mut self, batch: &Batch<'_>) {
        let _ = batch;
    }
    /// Adds the gradients of the loss, and gives its value.
    fn step(&mut self, batch: &Batch<'_>, at: Moment) -> f64;
    /// What follows the optimiser's step.
    fn moved(&mut self, at: Moment) {
        let _ = at;
    }
    /// Parameters whose learning rate is constant: those whose name begins so, and how many times the schedule's peak it
    /// is.
    fn steady(&self) -> Option<(&'static str, f32)> {
        None
    }
    /// Parameters that stay as they are in so many first epochs: those whose name begins so.
    fn frozen(&self) -> Option<(&'static str, usize)> {
        None
    }
    /// Shows everything that a checkpoint must hold besides the network that learns.
    ///
    /// # Errors
    /// Those of `state`.
    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// What a checkpoint does with each part of a method's state: it writes the values, or replaces them.
pub trait State<D: Device> {
    /// A network's parameters.
    ///
    /// # Errors
    /// When the file does not have them.
    fn network(&mut self, name: &str, parameters: &mut Parameters<D>) -> Result<()>;
    /// Floats, of which the file has as many.
    ///
    /// # Errors
    /// When the file does not have them.
    fn floats(&mut self, name: &str, values: &mut [f32]) -> Result<()>;
    /// Whole numbers, of which the file has as many.
    ///
    /// # Errors
    /// When the file does not have them.
    fn counts(&mut self, name: &str, values: &mut [u64]) -> Result<()>;
}

/// A loss and its gradient with respect to the rows it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// The loss.
    pub value: f64,
    /// Its gradient, as the rows lie.
    pub gradient: Vec<f32>,
}

/// Places in rings, shown to a checkpoint.
pub(super) fn places<D: Device>(state: &mut dyn State<D>, name: &str, places: &mut [&mut usize]) -> Result<()> {
    let mut counts: Vec<u64> = places.iter().map(|place| **place as u64).collect();
    state.counts(name, &mut counts)?;
    places.iter_mut().zip(counts).for_each(|(place, count)| **place = count as usize);
    Ok(())
}

/// Categories, shown to a checkpoint.
pub(super) fn categories<D: Device>(state: &mut dyn State<D>, name: &str, categories: &mut [u32]) -> Result<()> {
    let mut counts: Vec<u64> = categories.iter().map(|&category| category.into()).collect();
    state.counts(name, &mut counts)?;
    categories.iter_mut().zip(counts).for_each(|(category, count)| *category = count as u32);
    Ok(())
}

/// A number in any format.
pub(super) fn number<E: Dtype>(x: f64) -> E {
    E::from_f64(x).expect("floats hold any f64, rounded")
}
