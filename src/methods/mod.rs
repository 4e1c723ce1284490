//! Self-supervised methods, one file each: the loss as its paper writes it, in dfdx, and in closed form where dfdx's cost
//! would be more than a few percent of a step.

mod simclr;

pub use simclr::{nt_xent, nt_xent_in_closed_form};

use serde::{Deserialize, Serialize};

use crate::models::PROJECTION;
use crate::tensor::bridge::{Embedding, Loss};

/// A method with its own hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Method {
    /// Contrast of each pair with the rest of the batch.
    Simclr {
        /// Divides the similarities.
        temperature: f32,
    },
}

impl Method {
    /// The name in tables.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Simclr { .. } => "SimCLR",
        }
    }

    /// The loss of projections (2N, P), all first views before all second ones.
    pub fn loss(&self, z: Embedding<PROJECTION>) -> Loss {
        match *self {
            Self::Simclr { temperature } => nt_xent_in_closed_form(z, temperature),
        }
    }
}
