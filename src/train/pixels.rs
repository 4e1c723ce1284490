//! The pixels of a set of images, as features.

use rayon::prelude::*;

use crate::data::augment::{Normalization, plain};
use crate::data::image_set::ImageSet;
use crate::error::Result;
use crate::eval::Features;

/// The pixels themselves as features (N, 3072): images resized to 32x32 and normalised.
///
/// # Errors
/// When there is no image.
pub fn pixels(set: &ImageSet, normalization: &Normalization) -> Result<Features> {
    const SIZE: usize = 32;
    let dim = SIZE * SIZE * 3;
    let mut values = vec![0.0; set.len() * dim];
    values.par_chunks_mut(dim).enumerate().for_each(|(i, out)| {
        plain(set.image(i), set.size, SIZE, normalization, out);
    });
    Features::new(values, set.labels.to_vec(), dim, set.classes.len())
}
