//! Measures how many views per second the pipeline makes, for `sempair bench augment`.

use std::time::Instant;

use rayon::prelude::*;

use crate::rng::Key;

use super::Augmentation;
use super::Blur;
use super::Crop;
use super::Jitter;
use super::Normalization;
use super::Pipeline;
use super::Views;

/// Side in pixels of the byte images that views are made from.
const SOURCE: usize = 64;
/// Number of views in one round: a batch of 256 pairs.
const ROUND: usize = 512;

/// Returns the views per second of each of `rounds` rounds on rayon's current pool. A view applies SimCLR's
/// transformations to an image of 64x64 pixels (bytes) and has `image` x `image` pixels (normalised floats). A first
/// round, which warms up caches and memory, is not counted.
///
/// # Panics
/// When `image` is 0.
pub fn throughput(image: usize, rounds: usize) -> Vec<f64> {
    let normalization = Normalization { mean: [0.5; 3], std: [0.25; 3] };
    let pipeline = Pipeline::new(Views { first: simclr(), second: simclr() }, normalization, image);
    let key = Key::root(0).split("throughput");
    let mut stream = key.stream();
    let images: Vec<u8> = (0..16 * 3 * SOURCE * SOURCE).map(|_| stream.next_u32() as u8).collect();
    let mut out = vec![0.0; ROUND * 3 * image * image];
    let mut round = |index: usize| {
        let start = Instant::now();
        out.par_chunks_exact_mut(3 * image * image).enumerate().for_each(|(view, out)| {
            let source = &images[view % 16 * 3 * SOURCE * SOURCE..][..3 * SOURCE * SOURCE];
            pipeline.view(source, SOURCE, view % 2, key.at(index as u64).at(view as u64), out);
        });
        ROUND as f64 / start.elapsed().as_secs_f64()
    };
    round(0);
    (1..=rounds).map(round).collect()
}

/// SimCLR's transformations with a jitter of strength 0.5 and crops of at least a fifth of the image.
fn simclr() -> Augmentation {
    Augmentation {
        crop: Crop { enabled: true, scale: [0.2, 1.0], ratio: [0.75, 4.0 / 3.0] },
        flip: 0.5,
        jitter: Jitter { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1 },
        grayscale: 0.2,
        blur: Blur { probability: 0.5, sigma: [0.1, 2.0], kernel: 0 },
        ..Augmentation::none()
    }
}
