//! Frozen features of a set of images.

use crate::data::augment::{Normalization, plain};
use crate::data::image_set::ImageSet;
use crate::error::Result;
use crate::eval::Features;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::models::Backbone;
use crate::tensor::AnyDevice;
use rayon::prelude::*;

/// Images per forward pass.
const BATCH: usize = 128;

/// Features (N, F) in evaluation mode of all images, resized to the network's input and normalised.
///
/// # Errors
/// When the user asks to stop, or features are not finite.
pub fn features(
    network: &Backbone<AnyDevice>,
    set: &ImageSet,
    normalization: &Normalization,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Features> {
    let size = network.image();
    let bar = progress.bar(&format!("features of {}", set.name), set.len() as u64, "images");
    let mut values = Vec::with_capacity(set.len() * network.width());
    for start in (0..set.len()).step_by(BATCH) {
        interrupt.check()?;
        let count = BATCH.min(set.len() - start);
        let mut images = vec![0.0; count * size * size * 3];
        images.par_chunks_mut(size * size * 3).enumerate().for_each(|(i, out)| {
            plain(set.image(start + i), set.size, size, normalization, out);
        });
        values.extend(network.features(&images));
        bar.advance(count as u64);
    }
    Features::new(values, set.labels.to_vec(), network.width(), set.classes.len())
}
