//! The draws of an instance. Every nuisance factor has its own random stream, so that one can change without the
//! others.

use serde::Deserialize;
use serde::Serialize;

use super::PRETRAINING_CATEGORIES;
use super::STL_CATEGORIES;
use super::World;
use super::factors::Factors;
use super::shape::KINDS;
use super::shape::Part;
use super::shape::Shape;
use super::shape::ShapeKind;
use super::shape::Vector;
use super::shape::turn;
use super::shape::unit;
use super::surface::Background;
use super::surface::Colour;
use super::surface::Pattern;
use super::surface::Texture;
use super::surface::hsv;
use super::surface::luma;
use super::surface::mix;
use crate::rng::Key;
use crate::rng::Stream;

/// The nuisance factors that the paper names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nuisance {
    /// What covers the object.
    Occlusion,
    /// What is behind the object: the background and its clutter.
    Background,
    /// The pattern on the object's surface and the pattern's second colour.
    Pattern,
    /// Brightness and its gradient, colour cast and contrast.
    Illumination,
}

impl Nuisance {
    /// All factors, in the paper's order.
    pub const ALL: [Self; 4] = [Self::Occlusion, Self::Background, Self::Pattern, Self::Illumination];

    /// Returns the name that settings and tables use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Occlusion => "occlusion",
            Self::Background => "background",
            Self::Pattern => "pattern",
            Self::Illumination => "illumination",
        }
    }
}

/// Everything that is rendered. Coordinates are -1 to 1 in both directions, and y points down.
pub(super) struct Scene {
    pub parts: Vec<Part>,
    pub pose: Pose,
    pub surface: Surface,
    pub background: Backdrop,
    pub clutter: Vec<(Part, Colour)>,
    pub occluder: Option<(Part, Colour)>,
    pub light: Light,
    pub factors: Factors,
}

/// Where the object is. `half` is half its extent (see `Domain::scale`).
#[derive(Clone, Copy)]
pub(super) struct Pose {
    pub at: Vector,
    pub half: f32,
    turn: Vector,
    mirror: f32,
}

pub(super) struct Surface {
    pub pattern: Pattern,
    pub texture: Texture,
    pub colours: [Colour; 2],
}

pub(super) struct Backdrop {
    pub kind: Background,
    pub texture: Texture,
    pub colours: [Colour; 2],
}

#[derive(Clone, Copy)]
pub(super) struct Light {
    pub gain: f32,
    pub slope: Vector,
    pub cast: Colour,
    pub contrast: f32,
}

/// The nuisance distributions that differ between pretraining and the evaluation sets.
struct Domain {
    backgrounds: &'static [Background],
    /// The minimum and maximum number of clutter shapes at strength 1.
    clutter: [f32; 2],
    /// Mean and spread of the logarithm of the gain at strength 1.
    gain: [f32; 2],
    /// The largest gradient of brightness at strength 1.
    slope: f32,
    /// The range of the object's extent (the geometric mean of width and height), as a fraction of the picture's side.
    scale: [f32; 2],
}

const PRETRAINING: Domain = Domain {
    backgrounds: &[
        Background::Gradient,
        Background::Clouds,
        Background::Horizon,
        Background::Bricks,
        Background::Stripes,
        Background::Blobs,
    ],
    clutter: [0.0, 8.0],
    gain: [0.0, 0.5],
    slope: 0.7,
    scale: [0.8, 1.1],
};

const EVALUATION: Domain = Domain {
    backgrounds: &[
        Background::Clouds,
        Background::Horizon,
        Background::Bricks,
        Background::Blobs,
        Background::Tiles,
        Background::Waves,
    ],
    clutter: [2.0, 8.0],
    gain: [-0.1, 0.4],
    slope: 0.9,
    scale: [0.8, 1.1],
};

const STL: Domain = Domain {
    backgrounds: &[
        Background::Gradient,
        Background::Horizon,
        Background::Stripes,
        Background::Tiles,
        Background::Waves,
    ],
    clutter: [0.0, 5.0],
    gain: [0.15, 0.6],
    slope: 0.5,
    scale: [0.85, 1.1],
};

fn domain(category: u32) -> &'static Domain {
    match category {
        ..PRETRAINING_CATEGORIES => &PRETRAINING,
        PRETRAINING_CATEGORIES..STL_CATEGORIES => &EVALUATION,
        _ => &STL,
    }
}

/// The maximum number of draws of a background's colours.
const TRIES: usize = 20;

/// The properties that all instances of a category share.
struct Category {
    shape: Shape,
    hue: f32,
    pattern: Pattern,
    background: Background,
}

impl Category {
    fn draw(key: Key, category: u32, domain: &Domain) -> Self {
        let mut habits = key.split("habits").stream();
        Self {
            shape: Shape::draw(category, &mut key.split("shape").stream()),
            hue: habits.uniform(),
            pattern: pick(&Pattern::ALL, &mut habits),
            background: pick(domain.backgrounds, &mut habits),
        }
    }
}

/// Draws an instance. With `varied`, one factor takes the alternative of this number. A varied occlusion is always
/// present, because most instances have none.
pub(super) fn draw(world: &World, category: u32, instance: u32, varied: Option<(Nuisance, u32)>) -> Scene {
    let domain = domain(category);
    let key = Key::root(world.seed).split("world").at(category.into());
    let common = Category::draw(key.split("category"), category, domain);
    let key = key.split("instance").at(instance.into());
    let stream = |purpose: &str, nuisance: Nuisance| {
        let key = key.split(purpose);
        match varied {
            Some((which, alternative)) if which == nuisance => key.split("varied").at(alternative.into()).stream(),
            _ => key.stream(),
        }
    };
    let (parts, pose, rotation) = draw_pose(&common.shape, domain, &mut key.split("pose").stream());
    let (hue, follows_hue, base) = draw_colour(&common, world.habit, &mut key.split("colour").stream());
    let (surface, follows_pattern) = draw_surface(&common, world, base, &mut stream("surface", Nuisance::Pattern));
    let mut behind = stream("background", Nuisance::Background);
    let (background, follows_background) = draw_background(&common, world, domain, luma(base), &mut behind);
    let clutter = draw_clutter(world.clutter, domain, &mut behind);
    let certain = varied.is_some_and(|(which, _)| which == Nuisance::Occlusion);
    let occluder = draw_occluder(world.occlusion, certain, pose, &mut stream("occlusion", Nuisance::Occlusion));
    let light = draw_light(world.illumination, domain, &mut stream("light", Nuisance::Illumination));
    let factors = Factors {
        category,
        instance,
        hue,
        follows_hue,
        pattern: surface.pattern,
        follows_pattern,
        background: background.kind,
        follows_background,
        clutter: clutter.len() as u32,
        gain: light.gain,
        slope: light.slope,
        cast: light.cast,
        contrast: light.contrast,
        occluded: 0.0,
        area: 0.0,
        rotation,
        scale: pose.half,
        at: pose.at,
        mirrored: pose.mirror < 0.0,
    };
    Scene { parts, pose, surface, background, clutter, occluder, light, factors }
}

impl Pose {
    /// Converts a point of the picture to the object's own frame, where `half` is 1.
    pub fn local(&self, p: Vector) -> Vector {
        let q = [(p[0] - self.at[0]) * self.mirror / self.half, (p[1] - self.at[1]) / self.half];
        turn(q, [self.turn[0], -self.turn[1]])
    }
}

/// Draws the parts and the pose. The parts are bent, rotated, possibly mirrored, and scaled so that the object fills
/// the picture. Returns the rotation in radians, too.
fn draw_pose(shape: &Shape, domain: &Domain, stream: &mut Stream) -> (Vec<Part>, Pose, f32) {
    const LOOSENESS: f32 = 0.07;
    const ROTATION: f32 = 0.45; // about 26 degrees either way: most objects have an upright position
    let rotation = stream.range(-ROTATION, ROTATION);
    let mirror = if stream.chance(0.5) { -1.0 } else { 1.0 };
    let half = stream.range(domain.scale[0], domain.scale[1]);
    let room = (1.0 - half).max(0.08);
    let at = [stream.range(-room, room), stream.range(-room, room)];
    let by = unit(rotation);
    let mut parts = shape.assemble(LOOSENESS, stream);
    for part in &mut parts {
        let place = |v: Vector| [mirror * turn(v, by)[0], turn(v, by)[1]];
        (part.at, part.dir) = (place(part.at), place(part.dir));
    }
    let (low, high) = bounds(&parts);
    // Scaled by the geometric mean of the extents, so that slender objects fill the picture, too. Their ends may lie
    // outside it.
    let [width, height] = [high[0] - low[0], high[1] - low[1]];
    let zoom = 2.0 * half / (width * height).sqrt().max(width.max(height) / 1.25);
    for part in &mut parts {
        part.at = std::array::from_fn(|i| at[i] + zoom * (part.at[i] - 0.5 * (low[i] + high[i])));
        part.half = part.half.map(|h| zoom * h);
    }
    (parts, Pose { at, half, turn: by, mirror }, rotation)
}

fn bounds(parts: &[Part]) -> (Vector, Vector) {
    parts.iter().fold(([f32::MAX; 2], [f32::MIN; 2]), |(low, high), part| {
        let extent = part.extent();
        (
            std::array::from_fn(|i| low[i].min(part.at[i] - extent[i])),
            std::array::from_fn(|i| high[i].max(part.at[i] + extent[i])),
        )
    })
}

/// Draws the hue, whether it is the category's, and the object's main colour.
fn draw_colour(common: &Category, habit: f32, stream: &mut Stream) -> (f32, bool, Colour) {
    let follows = stream.chance(habit);
    let (near, any) = (common.hue + stream.range(-0.04, 0.04), stream.uniform());
    let hue = if follows { near - near.floor() } else { any };
    (hue, follows, hsv(hue, stream.range(0.55, 0.95), stream.range(0.45, 1.0)))
}

/// Draws the surface. The second colour is a mixture of the first with a darker colour, a paler colour or another hue.
fn draw_surface(common: &Category, world: &World, base: Colour, stream: &mut Stream) -> (Surface, bool) {
    let follows = stream.chance(world.habit);
    let any = pick(&Pattern::ALL, stream);
    let pattern = if follows { common.pattern } else { any };
    let second = match stream.below(3) {
        0 => base.map(|v| 0.4 * v),
        1 => base.map(|v| 0.3 * v + 0.68),
        _ => hsv(stream.uniform(), stream.range(0.3, 0.9), stream.range(0.3, 1.0)),
    };
    let colours = [base, mix(base, second, world.surface_contrast)];
    (Surface { pattern, texture: Texture::draw([1.4, 2.6], stream), colours }, follows)
}

/// Draws muted colours until their mean brightness differs enough from the object's, at most [`TRIES`] times.
fn draw_background(
    common: &Category,
    world: &World,
    domain: &Domain,
    brightness: f32,
    stream: &mut Stream,
) -> (Backdrop, bool) {
    let follows = stream.chance(world.background_habit);
    let any = pick(domain.backgrounds, stream);
    let kind = if follows { common.background } else { any };
    let texture = Texture::draw([1.0, 2.2], stream);
    let mut colours = [[0.0; 3]; 2];
    for _ in 0..TRIES {
        let hue = stream.uniform();
        let first = hsv(hue, stream.range(0.05, 0.6), stream.range(0.15, 0.95));
        let second = hsv(hue + stream.range(-0.25, 0.25), stream.range(0.05, 0.6), stream.range(0.15, 0.95));
        colours = [first, mix(first, second, world.background_contrast)];
        if (0.5 * (luma(colours[0]) + luma(colours[1])) - brightness).abs() > world.separation {
            break;
        }
    }
    (Backdrop { kind, texture, colours }, follows)
}

fn draw_clutter(strength: f32, domain: &Domain, stream: &mut Stream) -> Vec<(Part, Colour)> {
    let [least, most] = domain.clutter.map(|count| (strength * count).round() as usize);
    let count = least + stream.below(most - least + 1);
    let mut shape = || {
        let at = [stream.range(-1.0, 1.0), stream.range(-1.0, 1.0)];
        let (length, width) = (stream.range(0.1, 0.3), stream.range(0.1, 0.25));
        let part = Part { kind: pick(&KINDS, stream), at, dir: unit(stream.range(0.0, 6.3)), half: [length, width] };
        (part, hsv(stream.uniform(), stream.range(0.1, 0.7), stream.range(0.2, 0.9)))
    };
    (0..count).map(|_| shape()).collect()
}

/// Draws an occluder: an edge that reaches in from a side, a bar across the picture, or a disc at the rim of the
/// object.
fn draw_occluder(strength: f32, certain: bool, pose: Pose, stream: &mut Stream) -> Option<(Part, Colour)> {
    if !stream.chance(strength) && !certain {
        return None;
    }
    let inward = unit(stream.range(0.0, std::f32::consts::TAU));
    let depth = stream.range(0.15, 0.3 + 0.3 * strength) * pose.half;
    let along = stream.range(-0.5, 0.5) * pose.half;
    let (kind, centre, half) = match stream.below(3) {
        0 => (ShapeKind::Box, 3.0 + pose.half - depth, [3.0, 4.0]),
        1 => (ShapeKind::Box, along, [0.4 * depth, 4.0]),
        _ => (ShapeKind::Ellipse, 0.8 * pose.half, [1.2 * depth, 1.2 * depth]),
    };
    let at = [pose.at[0] - centre * inward[0], pose.at[1] - centre * inward[1]];
    let colour = hsv(stream.uniform(), stream.range(0.1, 0.8), stream.range(0.15, 0.95));
    Some((Part { kind, at, dir: inward, half }, colour))
}

fn draw_light(strength: f32, domain: &Domain, stream: &mut Stream) -> Light {
    let gain = libm::expf(strength * (domain.gain[0] + domain.gain[1] * stream.normal().clamp(-2.0, 2.0)));
    let steepness = strength * domain.slope * stream.uniform();
    let slope = unit(stream.range(0.0, std::f32::consts::TAU)).map(|d| steepness * d);
    let cast = std::array::from_fn(|_| 1.0 + strength * stream.range(-0.3, 0.3));
    Light { gain, slope, cast, contrast: 1.0 + strength * stream.range(-0.5, 0.4) }
}

fn pick<T: Copy>(items: &[T], stream: &mut Stream) -> T {
    items[stream.below(items.len())]
}
