//! Controlled edits of photographs, one for each nuisance factor, where the factors themselves are not known.
//!
//! Where the object is is not known either, so it is taken to lie in the middle, within [`EXTENT`] of the picture's half
//! side. An edit therefore changes a factor roughly, and other things with it: it is no substitute for rendering anew.

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

/// The edits' version: part of the key of every stage that depends on them. It goes up whenever a byte changes.
pub const EDITS_VERSION: u32 = 2;

/// Half the width of the object's supposed place; the picture's edges are at -1 and 1.
const EXTENT: f32 = 0.7;

/// How far from sharp the border of that place is.
const SOFTNESS: f32 = 0.2;

/// How much of a pattern shows on the object.
const PATTERN: f32 = 0.5;

/// How far illumination departs from what it was, as [`super::World::illumination`].
const ILLUMINATION: f32 = 0.5;

/// A pixel's colour, 0 to 1, from its place and what it was.
type Edit<'a> = Box<dyn Fn(Vector, Colour) -> Colour + 'a>;

/// Every image of `set`, in order, with one factor changed; each edit depends on the image's place in the set only.
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

/// How much a place belongs to the object, 1 in the middle and 0 at the picture's edges.
fn of_object(p: Vector) -> f32 {
    step(EXTENT - length(p), SOFTNESS)
}

/// Something plain that reaches in from a side, as far as a third of the picture.
fn occlude(stream: &mut Stream) -> Edit<'static> {
    let from = unit(stream.range(0.0, std::f32::consts::TAU));
    let edge = stream.range(0.25, 0.55);
    let colour = hsv(stream.uniform(), stream.range(0.1, 0.8), stream.range(0.15, 0.95));
    Box::new(move |p, was| if p[0] * from[0] + p[1] * from[1] > edge { colour } else { was })
}

/// The surroundings of an image of another category, where there is one.
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

/// A pattern of one colour on the object.
fn paint(size: usize, stream: &mut Stream) -> Edit<'static> {
    let pattern = Pattern::ALL[1 + stream.below(Pattern::ALL.len() - 1)];
    let texture = Texture::draw([1.4, 2.6], stream);
    let colour = hsv(stream.uniform(), stream.range(0.3, 0.9), stream.range(0.3, 1.0));
    let pixel = 2.0 / size as f32;
    Box::new(move |p, was| mix(was, colour, PATTERN * of_object(p) * texture.pattern(pattern, p, pixel)))
}

/// Other brightness, a gradient of it, another cast and contrast.
fn relight(stream: &mut Stream) -> Edit<'static> {
    let gain = libm::expf(ILLUMINATION * 0.6 * stream.normal().clamp(-2.0, 2.0));
    let steepness = ILLUMINATION * stream.uniform();
    let slope = unit(stream.range(0.0, std::f32::consts::TAU)).map(|d| steepness * d);
    let cast = std::array::from_fn(|_| 1.0 + ILLUMINATION * stream.range(-0.3, 0.3));
    let light = Light { gain, slope, cast, contrast: 1.0 + ILLUMINATION * stream.range(-0.5, 0.4) };
    Box::new(move |p, was| lit(was, &light, p))
}
