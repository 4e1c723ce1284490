//! The description of a finished encoder, stored next to it: enough to build the encoder again, and to prepare images
//! as in its training.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::augment::Normalization;
use crate::error::Result;
use crate::files;

use super::run::Pretraining;

/// The description of a finished encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Network, method, length, seed.
    pub run: Pretraining,
    /// The normalisation of the channels: the values that were subtracted and divided by.
    pub normalization: Normalization,
}

impl Trained {
    /// The file's name in the encoder's folder.
    pub const FILE: &'static str = "pretraining.json";

    /// Writes it into the folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        files::write_json(&dir.join(Self::FILE), self)
    }

    /// Reads it from the folder.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        files::read_json(&dir.join(Self::FILE))
    }
}
