//! What is evaluated: a map from images to vectors.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::data::image_set::ImageSet;
use crate::error::Result;
use crate::eval::Features;
use crate::harness::stage::{Site, Stage};
use crate::models::ModelSpec;

/// A map from images to vectors, to be evaluated.
#[derive(Clone)]
pub struct Mapping {
    /// Everything that determines it.
    pub identity: Value,
    /// The stage that makes it, where one does.
    pub after: Option<Arc<Stage>>,
    /// The modules that compute it.
    pub code: Vec<&'static str>,
    /// The encoder; `None` for pixels.
    pub model: Option<ModelSpec>,
    /// Computes the vectors.
    pub source: Arc<dyn Source>,
}

/// Computes vectors from images.
pub trait Source: Send + Sync {
    /// The features of each set of images, with the weights in `file`; `None` means the usual file.
    ///
    /// # Errors
    /// When the weights are damaged, when features are not finite, or when the user interrupts the run.
    fn features(&self, sets: &[&ImageSet], file: Option<&str>, site: &Site<'_>) -> Result<Vec<Features>>;

    /// The file of the encoder's weights; `None` where there is none, as for an encoder before its first step.
    fn weights(&self, site: &Site<'_>) -> Option<PathBuf>;
}

impl Mapping {
    /// The features of some images.
    ///
    /// # Errors
    /// As `features` of a source.
    pub fn features(&self, images: &ImageSet, site: &Site<'_>) -> Result<Features> {
        Ok(self.source.features(&[images], None, site)?.swap_remove(0))
    }
}
