//! Self-supervised methods, one file each: hyperparameters, heads, the loss as its paper writes it, and what happens in a
//! step.
//!
//! Every method has one shape: an encoder, a projector whose results are z (N, P), and a predictor or prototypes on them
//! with results p (N, Q), through which gradients enter. All views of a step are rows: N first views, then N second
//! views, then small crops where a method wants some. Batch normalisation has the moments that it has in the authors'
//! code of each method: those of one view at a time (MoCo, PIRL, BYOL, SimSiam, Barlow Twins, VICReg), or of all views of
//! a size (SimCLR, DeepCluster, SwAV, DINO). `cosine`, `correlation`, `cross_entropy` and `reduce` are what several
//! losses share, `target` is the network that follows.

pub mod contrast;
mod correlation;
mod cosine;
mod cross_entropy;
pub mod hard_negatives;
mod reduce;
mod target;

use dfdx::prelude::Dtype;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::models::{AnyNetwork, ModelSpec};
use crate::nn::Parameters;
use crate::optim::Recipe;
use crate::rng::Key;
use crate::tensor::Device;

/// Declares the methods: for each its file, its name as a type, in settings and in tables.
macro_rules! methods {
    ($($module:ident $Name:ident $id:literal $title:literal;)*) => {
        $(pub mod $module;)*

        /// Which method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Name {
            $(#[serde(rename = $id)] #[doc = $title] $Name,)*
        }

        /// The hyperparameters of all methods.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Methods {
            $(#[serde(rename = $id)] #[doc = $title] pub $module: $module::Settings,)*
        }

        /// One method with its hyperparameters.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum Method {
            $(#[serde(rename = $id)] #[doc = $title] $Name($module::Settings),)*
        }

        impl Name {
            /// Every method.
            pub const ALL: &'static [Self] = &[$(Self::$Name),*];

            /// As settings and commands write it.
            pub fn id(self) -> &'static str {
                match self { $(Self::$Name => $id),* }
            }

            /// As tables write it.
            pub fn title(self) -> &'static str {
                match self { $(Self::$Name => $title),* }
            }
        }

        impl Methods {
            /// One of them.
            pub fn get(&self, name: Name) -> Method {
                match name { $(Name::$Name => Method::$Name(self.$module.clone())),* }
            }
        }

        impl Method {
            /// Which it is.
            pub fn name(&self) -> Name {
                match self { $(Self::$Name(_) => Name::$Name),* }
            }

            /// Its recipe.
            pub fn recipe(&self) -> &Recipe {
                match self { $(Self::$Name(settings) => settings.recipe()),* }
            }

            /// The small views that it wants of each pair.
            pub fn crops(&self) -> Crops {
                match self { $(Self::$Name(settings) => settings.crops()),* }
            }

            /// The method before its first step.
            ///
            /// # Errors
            /// When no network was built for the specification, or the batch does not suit the method.
            pub fn start<D: Device>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
                match self { $(Self::$Name(settings) => settings.start(start)),* }
            }

            /// Refuses values with which no run makes sense.
            ///
            /// # Errors
            /// Names the key, its value and what is possible.
            pub fn validate(&self) -> Result<()> {
                let key = format!("methods.{}", self.name().id());
                self.recipe().validate(&key)?;
                match self { $(Self::$Name(settings) => settings.validate(&key)),* }
            }
        }
    };
}

methods! {
    simclr Simclr "simclr" "SimCLR";
    vicreg Vicreg "vicreg" "VICReg";
    byol Byol "byol" "BYOL";
    dino Dino "dino" "DINO";
    swav Swav "swav" "SwAV";
    simsiam Simsiam "simsiam" "SimSiam";
    moco_v2 MocoV2 "moco-v2" "MoCo v2";
    moco_v3 MocoV3 "moco-v3" "MoCo v3";
    pirl Pirl "pirl" "PIRL";
    deepcluster_v2 DeepclusterV2 "deepcluster-v2" "DeepCluster v2";
    barlow_twins BarlowTwins "barlow-twins" "Barlow Twins";
}

pub use simclr::{nt_xent, nt_xent_in_closed_form};

/// What a method's file says of its hyperparameters.
trait MethodSettings {
    /// Optimiser, learning rate, decay.
    fn recipe(&self) -> &Recipe;
    /// The small views that the method wants of each pair.
    fn crops(&self) -> Crops {
        Crops::default()
    }
    /// See [`Method::start`].
    fn start<D: Device>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>>;
    /// See [`Method::validate`].
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
            Self::Jigsaw => pirl::CELLS,
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
    /// The category of each pair, for label-aware variants only: N.
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

/// `value` must lie above 0.
fn above_zero(key: &str, name: &str, value: f32) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must be above 0"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// `value` must be 0 or more.
fn not_negative(key: &str, name: &str, value: f32) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must be 0 or more"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// `value` must lie between 0 and 1.
fn a_part(key: &str, name: &str, value: f32) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must lie between 0 and 1"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// `value` must be at least `least`.
fn at_least(key: &str, name: &str, value: usize, least: usize) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must be at least {least}"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// Places in rings, shown to a checkpoint.
fn places<D: Device>(state: &mut dyn State<D>, name: &str, places: &mut [&mut usize]) -> Result<()> {
    let mut counts: Vec<u64> = places.iter().map(|place| **place as u64).collect();
    state.counts(name, &mut counts)?;
    places.iter_mut().zip(counts).for_each(|(place, count)| **place = count as usize);
    Ok(())
}

/// Categories, shown to a checkpoint.
fn categories<D: Device>(state: &mut dyn State<D>, name: &str, categories: &mut [u32]) -> Result<()> {
    let mut counts: Vec<u64> = categories.iter().map(|&category| category.into()).collect();
    state.counts(name, &mut counts)?;
    categories.iter_mut().zip(counts).for_each(|(category, count)| *category = count as u32);
    Ok(())
}

/// A number in any format.
fn number<E: Dtype>(x: f64) -> E {
    E::from_f64(x).expect("floats hold any f64, rounded")
}
