//! What a finished encoder is, beside it: enough to build it again, and to show it images as its training did.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::augment::Normalization;
use crate::error::Result;
use crate::files;

use super::run::Pretraining;

/// What a finished encoder is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Network, method, length, seed.
    pub run: Pretraining,
    /// What was subtracted from and divided out of the channels.
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
