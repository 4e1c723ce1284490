//! Batches of annotated images: which images a step takes, flipped or not, at which size, normalised and padded.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::rng::Key;

use super::annotated::{AnnotatedSet, Object};
use super::augment::Normalization;
use super::resize::resized;

/// Batches whose images are drawn together and sorted by shape, so that images of a batch have similar shapes and little
/// padding.
const GROUP: usize = 4;

/// How images are resized: none if `short` is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resizing {
    /// The length of the shorter side in pixels, drawn from these for each image in training; the last in evaluation.
    pub short: Vec<usize>,
    /// The largest length of the longer side.
    pub longest: usize,
}

/// Images of a batch, in one canvas size.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedBatch {
    /// Values (N, height, width, 3), normalised; 0 outside an image.
    pub values: Vec<f32>,
    /// Rows of the canvas.
    pub height: usize,
    /// Columns of the canvas.
    pub width: usize,
    /// Each image's own size and objects, after resizing and flipping.
    pub images: Vec<Placed>,
}

/// An image on the canvas of a batch: it begins at the top left corner.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Height and width of the image in pixels.
    pub size: (usize, usize),
    /// Its objects; difficult ones are among them.
    pub objects: Vec<Object>,
}

/// Makes batches of a set.
pub struct AnnotatedBatches<'a> {
    set: &'a AnnotatedSet,
    resizing: &'a Resizing,
    normalization: &'a Normalization,
    /// The images that have objects.
    with_objects: Vec<usize>,
}

impl<'a> AnnotatedBatches<'a> {
    /// Batches of the images of a set.
    pub fn new(set: &'a AnnotatedSet, resizing: &'a Resizing, normalization: &'a Normalization) -> Self {
        let with_objects = (0..set.len()).filter(|&image| !set.objects(image).is_empty()).collect();
        Self { set, resizing, normalization, with_objects }
    }

    /// The number of images that training uses: those with objects.
    pub fn len(&self) -> usize {
        self.with_objects.len()
    }

    /// Whether no image has an object.
    pub fn is_empty(&self) -> bool {
        self.with_objects.is_empty()
    }

    /// The batch of a training step. Images are drawn without replacement, epoch after epoch; each is flipped with a
    /// probability of a half. The result depends only on the key and the step.
    ///
    /// # Errors
    /// When an image cannot be read.
    pub fn training(&self, batch: usize, step: usize, key: Key) -> Result<AnnotatedBatch> {
        let indices = self.drawn(batch, step, key);
        let prepare = |&(place, image): &(usize, usize)| {
            let mut stream = key.split("image").at(place as u64).stream();
            let flip = stream.chance(0.5);
            let short =
                (!self.resizing.short.is_empty()).then(|| self.resizing.short[stream.below(self.resizing.short.len())]);
            self.prepare(image, short, flip)
        };
        self.pad(indices.par_iter().map(prepare).collect::<Result<_>>()?)
    }

    /// A batch of these images for evaluation: not flipped.
    ///
    /// # Errors
    /// When an image cannot be read.
    pub fn evaluation(&self, images: &[usize]) -> Result<AnnotatedBatch> {
        let prepare = |&image: &usize| self.prepare(image, self.resizing.short.last().copied(), false);
        self.pad(images.par_iter().map(prepare).collect::<Result<_>>()?)
    }

    /// The size of an image in evaluation.
    pub fn evaluated_size(&self, image: usize) -> (usize, usize) {
        let size = self.set.size(image);
        self.resizing.short.last().map_or(size, |&short| resized_shape(size, short, self.resizing.longest))
    }

    /// The images of a step, each with its place in the endless sequence of all draws.
    fn drawn(&self, batch: usize, step: usize, key: Key) -> Vec<(usize, usize)> {
        let group = step / GROUP;
        let first = group * GROUP * batch;
        let mut all: Vec<(usize, usize)> = (first..first + GROUP * batch).map(|place| (place, 0)).collect();
        let count = self.with_objects.len();
        for epoch in first / count..=(first + GROUP * batch - 1) / count {
            let order = key.split("epoch").at(epoch as u64).stream().permutation(count);
            for (place, image) in all.iter_mut().filter(|(place, _)| *place / count == epoch) {
                *image = self.with_objects[order[*place % count]];
            }
        }
        let shape = |image: usize| {
            let (height, width) = self.set.size(image);
            width as f64 / height as f64
        };
        all.sort_by(|a, b| shape(a.1).total_cmp(&shape(b.1)));
        let order = key.split("group").at(group as u64).stream().permutation(GROUP);
        all.chunks(batch).nth(order[step % GROUP]).unwrap_or_default().to_vec()
    }

    /// Reads, resizes and flips an image and its objects.
    fn prepare(&self, image: usize, short: Option<usize>, flip: bool) -> Result<(Vec<u8>, Placed)> {
        let from = self.set.size(image);
        let to = short.map_or(from, |short| resized_shape(from, short, self.resizing.longest));
        let mut pixels = resized(self.set.pixels(image)?.into_owned(), from, to)
            .map_err(crate::error::Error::new)
            .context(format!("image {image} of {}", self.set.name))?;
        let mut objects: Vec<Object> = self.set.objects(image).to_vec();
        for object in &mut objects {
            object.edges = scaled(object.edges, from, to);
        }
        if flip {
            mirror(&mut pixels, to.1);
            objects.iter_mut().for_each(|object| object.edges = mirrored(object.edges, to.1));
        }
        objects.retain(|Object { edges: [left, top, right, bottom], .. }| right - left > 1e-5 && bottom - top > 1e-5);
        Ok((pixels, Placed { size: to, objects }))
    }

    /// Normalises images and puts them on one canvas.
    fn pad(&self, images: Vec<(Vec<u8>, Placed)>) -> Result<AnnotatedBatch> {
        let largest = |side: fn(&Placed) -> usize| images.iter().map(|(_, placed)| side(placed)).max().unwrap_or(0);
        let (height, width) = (largest(|placed| placed.size.0), largest(|placed| placed.size.1));
        let mut values = vec![0.0; images.len() * height * width * 3];
        let Normalization { mean, std } = self.normalization;
        let rows = values.par_chunks_exact_mut((height * width * 3).max(1)).zip(&images);
        rows.for_each(|(canvas, (pixels, Placed { size: (_, own), .. }))| {
            for (to, from) in canvas.chunks_exact_mut(width * 3).zip(pixels.chunks_exact(own * 3)) {
                for (at, (to, &from)) in to.iter_mut().zip(from).enumerate() {
                    *to = (f32::from(from) / 255.0 - mean[at % 3]) / std[at % 3];
                }
            }
        });
        Ok(AnnotatedBatch { values, height, width, images: images.into_iter().map(|(_, placed)| placed).collect() })
    }
}

/// The height and width of an image whose shorter side becomes `short`, but whose longer side is at most `longest`;
/// detectron2's `ResizeShortestEdge`. No side is 0.
pub fn resized_shape((height, width): (usize, usize), short: usize, longest: usize) -> (usize, usize) {
    let (h, w, short) = (height as f64, width as f64, short as f64);
    let (h, w) = if height < width { (short, short / h * w) } else { (short / w * h, short) };
    let factor = (longest as f64 / h.max(w)).min(1.0);
    (((h * factor + 0.5) as usize).max(1), ((w * factor + 0.5) as usize).max(1))
}

/// The edges after a resize, within the image.
fn scaled(edges: [f32; 4], from: (usize, usize), to: (usize, usize)) -> [f32; 4] {
    let (across, down) = (to.1 as f32 / from.1 as f32, to.0 as f32 / from.0 as f32);
    let limits = [to.1, to.0, to.1, to.0].map(|side| side as f32);
    let scaled = [edges[0] * across, edges[1] * down, edges[2] * across, edges[3] * down];
    std::array::from_fn(|k| scaled[k].clamp(0.0, limits[k]))
}

/// The edges in the mirrored image.
fn mirrored([left, top, right, bottom]: [f32; 4], width: usize) -> [f32; 4] {
    [width as f32 - right, top, width as f32 - left, bottom]
}

/// Mirrors each row of (.., width, 3) bytes.
fn mirror(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(width * 3) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}
