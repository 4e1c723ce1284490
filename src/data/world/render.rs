//! Renders a scene to bytes: one sample per pixel, with coverage from signed distances for smooth edges.

use super::factors::Factors;
use super::scene::Figure;
use super::scene::Light;
use super::scene::Scene;
use super::scene::Setting;
use super::shape::Vector;
use super::surface::Colour;
use super::surface::mix;
use super::surface::step;

/// Renders `scene` into `out` (size, size, 3). Returns its factors, with `area` and `occluded` measured on the mask.
pub(super) fn render(size: usize, scene: &Scene, out: &mut [u8]) -> Factors {
    assert!(out.len() == size * size * 3, "render: {} bytes for {size}x{size} pixels", out.len());
    let Scene { figure, setting, factors } = scene;
    let pixel = 2.0 / size as f32;
    let (mut area, mut hidden) = (0.0, 0.0);
    for (index, bytes) in out.chunks_exact_mut(3).enumerate() {
        let p = middle(index, size);
        let cover = cover(figure, p, pixel);
        let colour = painted(figure, &cover, p, pixel, || behind(setting, p, pixel));
        area += cover.object;
        hidden += cover.object * cover.occluder;
        bytes.copy_from_slice(&to_bytes(lit(colour, &setting.light, p)));
    }
    Factors {
        area: area / (size * size) as f32,
        occluded: if area > 0.0 { hidden / area } else { 0.0 },
        ..factors.clone()
    }
}

/// Returns the centre of a pixel.
pub(super) fn middle(index: usize, size: usize) -> Vector {
    [index % size, index / size].map(|i| centre(i as i32, size))
}

/// Returns the coordinate of the centre of a column or row, which may lie beyond the picture.
pub(super) fn centre(index: i32, size: usize) -> f32 {
    (index as f32 + 0.5) * (2.0 / size as f32) - 1.0
}

/// How much of a pixel an object covers, and how much of it the object's occluder covers.
pub(super) struct Cover {
    pub object: f32,
    pub occluder: f32,
    /// The distance of the pixel's centre from the object's outline, negative inside.
    distance: f32,
}

pub(super) fn cover(figure: &Figure, p: Vector, pixel: f32) -> Cover {
    let distance = figure.parts.iter().fold(f32::MAX, |least, part| least.min(part.distance(p)));
    let occluder = figure.occluder.as_ref().map_or(0.0, |(part, _)| step(-part.distance(p), pixel));
    Cover { object: step(-distance, pixel), occluder, distance }
}

/// Returns the colour of a pixel with an object, its occluder and what is behind both, which is computed only if it
/// shows.
pub(super) fn painted(
    figure: &Figure,
    cover: &Cover,
    p: Vector,
    pixel: f32,
    behind: impl FnOnce() -> Colour,
) -> Colour {
    let mut colour = if cover.object < 1.0 { behind() } else { [0.0; 3] };
    if cover.object > 0.0 {
        colour = mix(colour, surface(figure, p, cover.distance, pixel), cover.object);
    }
    match &figure.occluder {
        Some((_, paint)) => mix(colour, *paint, cover.occluder),
        None => colour,
    }
}

/// Returns the colour of the background with its clutter.
pub(super) fn behind(setting: &Setting, p: Vector, pixel: f32) -> Colour {
    let background = &setting.background;
    let ground = background.texture.background(background.kind, p, pixel);
    let colour = mix(background.colours[0], background.colours[1], ground);
    setting.clutter.iter().fold(colour, |colour, (part, paint)| mix(colour, *paint, step(-part.distance(p), pixel)))
}

/// Returns the colour of the object's pattern, which is darker towards the outline, as on round objects.
fn surface(figure: &Figure, p: Vector, distance: f32, pixel: f32) -> Colour {
    let Figure { surface, pose, .. } = figure;
    let share = surface.texture.pattern(surface.pattern, pose.local(p), pixel / pose.half);
    let shade = 1.0 - 0.35 * step(0.06 + distance, 0.12);
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
