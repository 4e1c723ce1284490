//! What all methods have in common: hyperparameters with a recipe, a training step, and a state for checkpoints.

use dfdx::prelude::Dtype;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::models::{AnyNetwork, ModelSpec, NetworkPass};
use crate::nn::Parameters;
use crate::optim::Recipe;
use crate::rng::Key;
use crate::tensor::{Device, Losses, Reading};

/// A method's hyperparameters, as implemented in its file.
pub(super) trait MethodSettings {
    /// Optimiser, learning rate, decay.
    fn recipe(&self) -> &Recipe;
    /// The small views of each pair that the method needs.
    fn crops(&self) -> Crops {
        Crops::default()
    }
    /// See [`Method::start`](super::Method::start).
    fn start<D: Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>>;
    /// See [`Method::validate`](super::Method::validate).
    fn validate(&self, key: &str) -> Result<()>;
}

/// Sizes of a method's heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// For small images and encoders.
    Small,
    /// As in the method's paper.
    Paper,
}

/// The number of cells of the grid into which a jigsaw divides an image.
pub(super) const JIGSAW_CELLS: usize = 9;

/// Small views of a pair, with half the side length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Crops {
    /// No small views.
    #[default]
    None,
    /// This number of random crops, taken in turn from the pair's first and second image.
    Random(usize),
    /// The cells of a 3x3 grid over the second image, shuffled.
    Jigsaw,
}

impl Crops {
    /// The number of small views of a pair.
    pub fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Random(count) => count,
            Self::Jigsaw => JIGSAW_CELLS,
        }
    }
}

/// The inputs from which a method starts.
pub struct Start<D: Device> {
    /// The encoder.
    pub spec: ModelSpec,
    /// Where to compute.
    pub device: D,
    /// The key from which the network's initial values are derived.
    pub initialisation: Key,
    /// The key from which all random draws of the method during training are derived.
    pub draws: Key,
    /// The number of pairs in the training set.
    pub pairs: usize,
    /// The number of categories of the pairs' set.
    pub categories: usize,
    /// The number of pairs per step.
    pub batch: usize,
}

/// The inputs of a step.
pub struct MethodBatch<'a> {
    /// (2N, image, image, 3): all first views, then all second views.
    pub images: &'a [f32],
    /// (M N, image / 2, image / 2, 3): the first random crop of each pair, then the second crop of each pair, ..; or
    /// the nine jigsaw cells of the first pair, then those of the second pair, ..
    pub crops: &'a [f32],
    /// (N): the index of each pair in the training set.
    pub pairs: &'a [u32],
    /// (N): the category of each pair. Only training with labels and label-aware variants use it.
    pub categories: &'a [u32],
}

/// The progress of a training.
#[derive(Clone, Copy, Debug)]
pub struct StepInfo {
    /// Steps done.
    pub step: usize,
    /// The total number of steps.
    pub steps: usize,
    /// Steps per epoch.
    pub steps_per_epoch: usize,
}

impl StepInfo {
    /// Epochs done.
    pub fn epoch(self) -> usize {
        self.step / self.steps_per_epoch
    }

    /// Whether an epoch begins at this step.
    pub fn begins_epoch(self) -> bool {
        self.step.is_multiple_of(self.steps_per_epoch)
    }
}

/// A method during training: its networks and its state.
pub trait Learner<D: Device> {
    /// The network that is trained; its parameters hold the gradients.
    fn network(&self) -> &dyn AnyNetwork<D>;
    /// Whether the method needs a pass over the pairs before the first epoch.
    fn remembers(&self) -> bool {
        false
    }
    /// Processes a batch of that pass. No parameters are trained; only the network's running statistics change.
    fn warm_up(&mut self, batch: &MethodBatch<'_>) {
        let _ = batch;
    }
    /// Adds the gradients of the loss and returns its value, which the device may still be computing.
    fn step(&mut self, batch: &MethodBatch<'_>, at: StepInfo) -> Reading;
    /// Runs after each step of the optimiser.
    fn after_step(&mut self, at: StepInfo) {
        let _ = at;
    }
    /// Parameters with a constant learning rate: the prefix of their names, and the rate as a
    /// multiple of the schedule's peak.
    fn steady(&self) -> Option<(&'static str, f32)> {
        None
    }
    /// Parameters that are frozen in the first epochs: the prefix of their names, and the number of epochs.
    fn frozen(&self) -> Option<(&'static str, usize)> {
        None
    }
    /// Passes to `state` everything that a checkpoint must hold in addition to the trained network.
    ///
    /// # Errors
    /// The errors of `state`.
    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// Handles each part of a method's state for a checkpoint: it writes the values to the file, or
/// replaces them by the file's values.
pub trait State<D: Device> {
    /// A network's parameters.
    ///
    /// # Errors
    /// When the file does not have them.
    fn network(&mut self, name: &str, parameters: &mut Parameters<D>) -> Result<()>;
    /// Floats; the file must have the same number of them.
    ///
    /// # Errors
    /// When the file does not have them.
    fn floats(&mut self, name: &str, values: &mut [f32]) -> Result<()>;
    /// Integers; the file must have the same number of them.
    ///
    /// # Errors
    /// When the file does not have them.
    fn counts(&mut self, name: &str, values: &mut [u64]) -> Result<()>;
}

/// A loss and its gradient with respect to the input rows.
#[derive(Clone, Debug, PartialEq)]
pub struct LossAndGrad {
    /// The loss.
    pub value: f64,
    /// The gradient, in the layout of the rows.
    pub gradient: Vec<f32>,
}

impl LossAndGrad {
    /// Runs the backward pass of the predictions, and returns the loss.
    pub(super) fn backward<D: Device, const P: usize, const Q: usize>(self, pass: NetworkPass<D, P, Q>) -> Reading {
        pass.backward(&self.gradient);
        Reading::Known(self.value)
    }
}

/// Passes positions in ring buffers to a checkpoint.
pub(super) fn places<D: Device>(state: &mut dyn State<D>, name: &str, places: &mut [&mut usize]) -> Result<()> {
    let mut counts: Vec<u64> = places.iter().map(|place| **place as u64).collect();
    state.counts(name, &mut counts)?;
    places.iter_mut().zip(counts).for_each(|(place, count)| **place = count as usize);
    Ok(())
}

/// Passes categories to a checkpoint.
pub(super) fn categories<D: Device>(state: &mut dyn State<D>, name: &str, categories: &mut [u32]) -> Result<()> {
    let mut counts: Vec<u64> = categories.iter().map(|&category| category.into()).collect();
    state.counts(name, &mut counts)?;
    categories.iter_mut().zip(counts).for_each(|(category, count)| *category = count as u32);
    Ok(())
}

/// Converts a number to any float type.
pub(super) fn number<E: Dtype>(x: f64) -> E {
    E::from_f64(x).expect("floats hold any f64, rounded")
}
