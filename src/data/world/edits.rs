//! Controlled edits of photographs, one for each nuisance factor. They are for images whose factors are not known.
//!
//! The object's position is not known either, so the object is assumed to be in the middle, within [`EXTENT`] of half
//! the picture's side. Therefore an edit changes a factor only roughly, and changes other things with it: it does not
//! replace rendering the image again.

use rayon::prelude::*;

use super::render::lit;
use super::render::middle;
use super::render::to_bytes;
use super::scene::Light;
use super::scene::Nuisance;
use super::shape::Vector;
use super::shape::length;
use super::shape::unit;
use super::surface::Colour;
use super::surface::Pattern;
use super::surface::Texture;
use super::surface::hsv;
use super::surface::mix;
use super::surface::step;
use crate::data::image_set::ImageSet;
use crate::rng::Key;
use crate::rng::Stream;

/// The edits' version: part of the key of every stage that depends on them. It increases whenever a byte of an edited
/// image changes.
pub const EDITS_VERSION: u32 = 2;

/// Radius of the region where the object is assumed to be; the picture's edges are at -1 and 1.
const EXTENT: f32 = 0.7;

/// Width of the soft border of this region.
const SOFTNESS: f32 = 0.2;

/// Opacity of a pattern on the object.
const PATTERN: f32 = 0.5;

/// How far illumination deviates from the original, as [`super::World::illumination`].
const ILLUMINATION: f32 = 0.5;

/// Computes a pixel's colour, 0 to 1, from its position and its original colour.
type Edit<'a> = Box<dyn Fn(Vector, Colour) -> Colour + 'a>;

/// Returns every image of `set`, in order, with one factor changed. The random numbers of an edit depend only on the
/// factor and on the image's position in the set.
pub fn edited(set: &ImageSet, nuisance: Nuisance) -> ImageSet {
    let (size, bytes) = (set.size, set.size * set.size * 3);
    let mut pixels = vec![0; set.len() * bytes];
    pixels.par_chunks_exact_mut(bytes.max(1)).enumerate().for_each(|(i, out)| {
        let mut stream = Key::root(0).split("edits").split(nuisance.name()).at(i as u64).stream();
        let edit = match nuisance {
            Nuisance::Occlusion => occlude(&mut stream),
            Nuisance::Background => replace_background(set, i, &mut stream),
            Nuisance::Pattern => paint(size, &mut stream),
            Nuisance::Illumination => relight(&mut stream),
        };
        let pixels = set.image(i).as_chunks::<3>().0.iter().zip(out.as_chunks_mut::<3>().0);
        for (place, (from, to)) in pixels.enumerate() {
            *to = to_bytes(edit(middle(place, size), from.map(|byte| f32::from(byte) / 255.0)));
        }
    });
    let name = format!("{}, {} edited", set.name, nuisance.name());
    ImageSet::new(&name, size, set.classes.to_vec(), set.labels.to_vec(), pixels)
}

/// Returns how much a position belongs to the object, 1 in the middle and 0 at the picture's edges.
fn of_object(p: Vector) -> f32 {
    step(EXTENT - length(p), SOFTNESS)
}

/// Covers the image with one colour from a side, up to about a third of the picture.
fn occlude(stream: &mut Stream) -> Edit<'static> {
    let from = unit(stream.range(0.0, std::f32::consts::TAU));
    let edge = stream.range(0.25, 0.55);
    let colour = hsv(stream.uniform(), stream.range(0.1, 0.8), stream.range(0.15, 0.95));
    Box::new(move |p, was| if p[0] * from[0] + p[1] * from[1] > edge { colour } else { was })
}

/// Replaces the surroundings with those of an image of another category, if 32 draws find one.
fn replace_background<'a>(set: &'a ImageSet, image: usize, stream: &mut Stream) -> Edit<'a> {
    let other = |i: &usize| set.labels[*i] != set.labels[image];
    let drawn = (0..32).map(|_| stream.below(set.len())).find(other).unwrap_or(image);
    let (size, from) = (set.size, set.image(drawn).as_chunks::<3>().0);
    Box::new(move |p, was| {
        let [x, y] = p.map(|v| ((v + 1.0) / 2.0 * size as f32) as usize);
        let behind = from[y * size + x].map(|byte| f32::from(byte) / 255.0);
        mix(behind, was, of_object(p))
    })
}

/// Paints a pattern of one colour on the object.
fn paint(size: usize, stream: &mut Stream) -> Edit<'static> {
    let pattern = Pattern::ALL[1 + stream.below(Pattern::ALL.len() - 1)];
    let texture = Texture::draw([1.4, 2.6], stream);
    let colour = hsv(stream.uniform(), stream.range(0.3, 0.9), stream.range(0.3, 1.0));
    let pixel = 2.0 / size as f32;
    Box::new(move |p, was| mix(was, colour, PATTERN * of_object(p) * texture.pattern(pattern, p, pixel)))
}

/// Changes the brightness, its gradient, the colour cast and the contrast.
fn relight(stream: &mut Stream) -> Edit<'static> {
    let gain = libm::expf(ILLUMINATION * 0.6 * stream.normal().clamp(-2.0, 2.0));
    let steepness = ILLUMINATION * stream.uniform();
    let slope = unit(stream.range(0.0, std::f32::consts::TAU)).map(|d| steepness * d);
    let cast = std::array::from_fn(|_| 1.0 + ILLUMINATION * stream.range(-0.3, 0.3));
    let light = Light { gain, slope, cast, contrast: 1.0 + ILLUMINATION * stream.range(-0.5, 0.4) };
    Box::new(move |p, was| lit(was, &light, p))
}
