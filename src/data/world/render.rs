//! Renders a scene to bytes: one sample per pixel, with coverage from signed distances for smooth edges.

use super::factors::Factors;
use super::scene::Light;
use super::scene::Scene;
use super::shape::Part;
use super::shape::Vector;
use super::surface::Colour;
use super::surface::mix;
use super::surface::step;

/// Renders `scene` into `out` (size, size, 3). Returns its factors, with `area` and `occluded` measured on the mask.
pub(super) fn render(size: usize, scene: &Scene, out: &mut [u8]) -> Factors {
    assert!(out.len() == size * size * 3, "render: {} bytes for {size}x{size} pixels", out.len());
    let pixel = 2.0 / size as f32;
    let (mut area, mut hidden) = (0.0, 0.0);
    for (index, bytes) in out.chunks_exact_mut(3).enumerate() {
        let p = middle(index, size);
        let inside = distance(&scene.parts, p);
        let mask = step(-inside, pixel);
        let mut colour = if mask < 1.0 { behind(scene, p, pixel) } else { [0.0; 3] };
        if mask > 0.0 {
            colour = mix(colour, surface(scene, p, inside, pixel), mask);
        }
        if let Some((part, paint)) = &scene.occluder {
            let cover = step(-part.distance(p), pixel);
            colour = mix(colour, *paint, cover);
            hidden += mask * cover;
        }
        area += mask;
        bytes.copy_from_slice(&to_bytes(lit(colour, &scene.light, p)));
    }
    Factors {
        area: area / (size * size) as f32,
        occluded: if area > 0.0 { hidden / area } else { 0.0 },
        ..scene.factors.clone()
    }
}

/// Returns the centre of a pixel.
pub(super) fn middle(index: usize, size: usize) -> Vector {
    [index % size, index / size].map(|i| (i as f32 + 0.5) * (2.0 / size as f32) - 1.0)
}

fn distance(parts: &[Part], p: Vector) -> f32 {
    parts.iter().fold(f32::MAX, |least, part| least.min(part.distance(p)))
}

/// Returns the colour of the background with its clutter.
fn behind(scene: &Scene, p: Vector, pixel: f32) -> Colour {
    let background = &scene.background;
    let ground = background.texture.background(background.kind, p, pixel);
    let colour = mix(background.colours[0], background.colours[1], ground);
    scene.clutter.iter().fold(colour, |colour, (part, paint)| mix(colour, *paint, step(-part.distance(p), pixel)))
}

/// Returns the colour of the object's pattern, which is darker towards the outline, as on round objects.
fn surface(scene: &Scene, p: Vector, inside: f32, pixel: f32) -> Colour {
    let surface = &scene.surface;
    let local = scene.pose.local(p);
    let share = surface.texture.pattern(surface.pattern, local, pixel / scene.pose.half);
    let shade = 1.0 - 0.35 * step(0.06 + inside, 0.12);
    mix(surface.colours[0], surface.colours[1], share).map(|v| shade * v)
}

/// Returns a colour in this light.
pub(super) fn lit(colour: Colour, light: &Light, p: Vector) -> Colour {
    let gain = light.gain * (1.0 + light.slope[0] * p[0] + light.slope[1] * p[1]);
    std::array::from_fn(|c| 0.5 + light.contrast * (gain * light.cast[c] * colour[c] - 0.5))
}

pub(super) fn to_bytes(colour: Colour) -> [u8; 3] {
    colour.map(|value| (255.0 * value.clamp(0.0, 1.0) + 0.5) as u8)
}
