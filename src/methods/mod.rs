//! Self-supervised methods, and training with labels, one file each: hyperparameters, heads, the loss as its paper writes
//! it, and what happens in a step.
//!
//! Every method has one shape: an encoder, a projector whose results are z (N, P), and a predictor or prototypes on them
//! with results p (N, Q), through which gradients enter. All views of a step are rows: N first views, then N second
//! views, then small crops where a method wants some. Batch normalisation has the moments that it has in the authors'
//! code of each method: those of one view at a time (MoCo, PIRL, BYOL, SimSiam, Barlow Twins, VICReg), or of all views of
//! a size (SimCLR, DeepCluster, SwAV, DINO). `cosine`, `correlation`, `cross_entropy` and `reduce` are what several
//! losses share, `target` is the network that follows, `learner` is what all methods have in common. This file only finds a
//! method by its name: a result depends on the method's own file and on those that it uses.

mod check;
pub mod contrast;
mod correlation;
mod cosine;
mod cross_entropy;
pub mod hard_negatives;
mod learner;
mod reduce;
pub mod sinkhorn;
mod target;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::optim::Recipe;
use crate::tensor::Device;

pub use learner::{Batch, Crops, Graded, Learner, Moment, Size, Start, State};

use check::{a_part, above_zero, at_least, not_negative};
use learner::{MethodSettings, categories, number, places};

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

            /// The module that it is in.
            pub fn module(self) -> &'static str {
                match self { $(Self::$Name => concat!("methods::", stringify!($module))),* }
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

            /// The same with so many passes over the pairs.
            #[must_use]
            pub fn for_epochs(mut self, epochs: usize) -> Self {
                match &mut self { $(Self::$Name(settings) => settings.recipe.epochs = epochs),* }
                self
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
    supervised Supervised "supervised" "supervised";
}

impl Name {
    /// Whether it learns without labels.
    pub fn is_self_supervised(self) -> bool {
        self != Self::Supervised
    }
}

pub use simclr::{nt_xent, nt_xent_in_closed_form};
