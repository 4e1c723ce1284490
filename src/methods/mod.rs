//! Self-supervised methods, one file each: the loss as its paper writes it, in dfdx.

mod simclr;

pub use simclr::nt_xent;

use dfdx::prelude::{Cpu, OwnedTape, Rank0, Tensor};
use serde::{Deserialize, Serialize};

use crate::models::PROJECTION;
use crate::tensor::bridge::Embedding;

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
    pub fn loss(&self, z: Embedding<PROJECTION>) -> Tensor<Rank0, f32, Cpu, OwnedTape<f32, Cpu>> {
        match *self {
            Self::Simclr { temperature } => nt_xent(z, temperature),
        }
    }
}
