//! The pixels of images as their features: a baseline that an encoder must beat.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::data::augment::Normalization;
use crate::data::image_set::ImageSet;
use crate::error::Result;
use crate::eval::Features;
use crate::harness::stage::Site;
use crate::train;

use super::Representation;
use super::mapping::{Mapping, Source};

struct Pixels(Normalization);

/// The mapping from images to their pixels.
pub fn pixels(normalization: &Normalization) -> Mapping {
    Mapping {
        identity: json!({ "representation": Representation::Pixels, "normalization": normalization }),
        after: None,
        code: vec!["study::stages::pixels"],
        model: None,
        source: Arc::new(Pixels(normalization.clone())),
    }
}

impl Source for Pixels {
    fn features(&self, sets: &[&ImageSet], _: Option<&str>, _: &Site<'_>) -> Result<Vec<Features>> {
        sets.iter().map(|images| train::pixels(images, &self.0)).collect()
    }

    fn weights(&self, _: &Site<'_>) -> Option<PathBuf> {
        None
    }
}
