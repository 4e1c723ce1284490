//! Self-supervised methods, and training with labels. Each has a file with its hyperparameters, its heads, its loss as
//! in the paper, and its training step.
//!
//! All methods have the same structure: an encoder, a projector with outputs z (N, P), and a predictor or prototypes on
//! top with outputs p (N, Q), where the gradients enter. The rows are the views of a step: N first views, then N second
//! views, then small crops if the method uses them. Batch normalisation computes its moments as in the authors' code of
//! each method: over one view at a time (MoCo, PIRL, BYOL, SimSiam, Barlow Twins, VICReg), or over all views of one
//! size (SimCLR, DeepCluster, SwAV, DINO). `cosine`, `correlation`, `cross_entropy` and `reduce` hold code that several
//! losses share, `target` is the target network, `bank` keeps rows on a device, and `learner` defines what all methods
//! have in common. This file only finds a method by its name; a result depends on the method's own file and on the files
//! that it uses.

mod bank;
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
use crate::tensor::Losses;

pub use learner::{Crops, Learner, LossAndGrad, MethodBatch, Size, Start, State, StepInfo};

use check::{a_part, above_zero, at_least, not_negative};
use learner::{MethodSettings, categories, number, places};

/// Declares the methods. Each line has the method's file, and its names as a type, in settings and in tables.
macro_rules! methods {
    ($($module:ident $Name:ident $id:literal $title:literal;)*) => {
        $(pub mod $module;)*

        /// The name of a method.
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

            /// The name in settings and commands.
            pub fn id(self) -> &'static str {
                match self { $(Self::$Name => $id),* }
            }

            /// The path of the method's module.
            pub fn module(self) -> &'static str {
                match self { $(Self::$Name => concat!("methods::", stringify!($module))),* }
            }

            /// The name in tables.
            pub fn title(self) -> &'static str {
                match self { $(Self::$Name => $title),* }
            }
        }

        impl Methods {
            /// The method of this name.
            pub fn get(&self, name: Name) -> Method {
                match name { $(Name::$Name => Method::$Name(self.$module.clone())),* }
            }
        }

        impl Method {
            /// The method's name.
            pub fn name(&self) -> Name {
                match self { $(Self::$Name(_) => Name::$Name),* }
            }

            /// The method's recipe.
            pub fn recipe(&self) -> &Recipe {
                match self { $(Self::$Name(settings) => settings.recipe()),* }
            }

            /// Returns the method with this number of passes over the pairs.
            #[must_use]
            pub fn for_epochs(mut self, epochs: usize) -> Self {
                match &mut self { $(Self::$Name(settings) => settings.recipe.epochs = epochs),* }
                self
            }

            /// The small views of each pair that the method needs.
            pub fn crops(&self) -> Crops {
                match self { $(Self::$Name(settings) => settings.crops()),* }
            }

            /// The learner of the method before its first step.
            ///
            /// # Errors
            /// When there is no network for the specification, or the batch does not suit the method.
            pub fn start<D: Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
                match self { $(Self::$Name(settings) => settings.start(start)),* }
            }

            /// Refuses values with which no run makes sense.
            ///
            /// # Errors
            /// The error names the key, its value and the possible values.
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
