//! The draws of an instance. Every nuisance factor has its own random stream, so that one can change without the
//! others.

use serde::Deserialize;
use serde::Serialize;

use super::World;
use super::domain::Domain;
use super::domain::domain;
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
    pub figure: Figure,
    pub setting: Setting,
    pub factors: Factors,
}

/// An object and what covers it.
pub(super) struct Figure {
    pub parts: Vec<Part>,
    pub pose: Pose,
    pub surface: Surface,
    pub occluder: Option<(Part, Colour)>,
}

/// What is behind the objects, and the light on everything.
pub(super) struct Setting {
    pub background: Backdrop,
    pub clutter: Vec<(Part, Colour)>,
    pub light: Light,
}

/// Where the object is. `half` is half its extent (see `Domain::scale`), and `rotation` is in radians.
#[derive(Clone, Copy)]
pub(super) struct Pose {
    pub at: Vector,
    pub half: f32,
    rotation: f32,
    turn: Vector,
    mirror: f32,
}

pub(super) struct Surface {
    pub pattern: Pattern,
    pub texture: Texture,
    pub colours: [Colour; 2],
    hue: f32,
    follows_hue: bool,
    follows_pattern: bool,
}

pub(super) struct Backdrop {
    pub kind: Background,
    pub texture: Texture,
    pub colours: [Colour; 2],
    follows: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Light {
    pub gain: f32,
    pub slope: Vector,
    pub cast: Colour,
    pub contrast: f32,
}

/// The maximum number of draws of the colours that differ from others in brightness.
const TRIES: usize = 20;

/// The properties that all instances of a category share.
pub(super) struct Category {
    shape: Shape,
    hue: f32,
    pattern: Pattern,
    background: Background,
    domain: &'static Domain,
}

impl Category {
    pub fn draw(world: &World, category: u32, domain: &'static Domain) -> Self {
        let key = key_of(world, category).split("category");
        let mut habits = key.split("habits").stream();
        Self {
            shape: Shape::draw(category, &mut key.split("shape").stream()),
            hue: habits.uniform(),
            pattern: pick(&Pattern::ALL, &mut habits),
            background: pick(domain.backgrounds, &mut habits),
            domain,
        }
    }
}

fn key_of(world: &World, category: u32) -> Key {
    Key::root(world.seed).split("world").at(category.into())
}

/// The random streams of an instance, one for each purpose. One factor may take the alternative of a number.
pub(super) struct Streams {
    pub key: Key,
    pub varied: Option<(Nuisance, u32)>,
}

impl Streams {
    fn of(&self, purpose: &str) -> Stream {
        self.key.split(purpose).stream()
    }

    fn of_nuisance(&self, purpose: &str, nuisance: Nuisance) -> Stream {
        match self.varied {
            Some((which, alternative)) if which == nuisance => {
                self.key.split(purpose).split("varied").at(alternative.into()).stream()
            }
            _ => self.of(purpose),
        }
    }
}

/// Draws an instance. With `varied`, one factor takes the alternative of this number. A varied occlusion is always
/// present, because most instances have none.
pub(super) fn draw(world: &World, category: u32, instance: u32, varied: Option<(Nuisance, u32)>) -> Scene {
    let common = Category::draw(world, category, domain(category));
    let streams = Streams { key: key_of(world, category).split("instance").at(instance.into()), varied };
    let figure = Figure::draw(world, &common, None, &streams);
    let setting = Setting::draw(world, &common, figure.brightness(), &streams);
    let factors = factors(category, instance, &figure, &setting);
    Scene { figure, setting, factors }
}

impl Figure {
    /// Draws an object of a category. If there is a background already, `ground` is its mean brightness.
    pub fn draw(world: &World, common: &Category, ground: Option<f32>, streams: &Streams) -> Self {
        let (parts, pose) = draw_pose(common, &mut streams.of("pose"));
        let main = draw_separate(common, world, ground, &mut streams.of("colour"));
        let surface = draw_surface(common, world, main, &mut streams.of_nuisance("surface", Nuisance::Pattern));
        let certain = streams.varied.is_some_and(|(which, _)| which == Nuisance::Occlusion);
        let mut before = streams.of_nuisance("occlusion", Nuisance::Occlusion);
        let occluder = draw_occluder(world.occlusion, certain, pose, common.domain.screen, &mut before);
        Self { parts, pose, surface, occluder }
    }

    /// Returns the brightness of the main colour.
    pub fn brightness(&self) -> f32 {
        luma(self.surface.colours[0])
    }
}

impl Setting {
    /// Draws what is behind an object of a category and of this brightness.
    pub fn draw(world: &World, common: &Category, brightness: f32, streams: &Streams) -> Self {
        let mut behind = streams.of_nuisance("background", Nuisance::Background);
        let background = draw_background(common, world, brightness, &mut behind);
        let clutter = draw_clutter(world.clutter, common.domain, &mut behind);
        let mut light = streams.of_nuisance("light", Nuisance::Illumination);
        Self { background, clutter, light: draw_light(world.illumination, common.domain, &mut light) }
    }
}

impl Backdrop {
    /// Returns the mean brightness of the two colours.
    pub fn brightness(&self) -> f32 {
        0.5 * (luma(self.colours[0]) + luma(self.colours[1]))
    }
}

fn factors(category: u32, instance: u32, figure: &Figure, setting: &Setting) -> Factors {
    let Figure { pose, surface, .. } = figure;
    let Setting { background, clutter, light } = setting;
    Factors {
        category,
        instance,
        hue: surface.hue,
        follows_hue: surface.follows_hue,
        pattern: surface.pattern,
        follows_pattern: surface.follows_pattern,
        background: background.kind,
        follows_background: background.follows,
        clutter: clutter.len() as u32,
        gain: light.gain,
        slope: light.slope,
        cast: light.cast,
        contrast: light.contrast,
        occluded: 0.0,
        area: 0.0,
        rotation: pose.rotation,
        scale: pose.half,
        at: pose.at,
        mirrored: pose.mirror < 0.0,
    }
}

impl Pose {
    /// Converts a point of the picture to the object's own frame, where `half` is 1.
    pub fn local(&self, p: Vector) -> Vector {
        let q = [(p[0] - self.at[0]) * self.mirror / self.half, (p[1] - self.at[1]) / self.half];
        turn(q, [self.turn[0], -self.turn[1]])
    }
}

/// Draws the parts and the pose. The parts are bent, rotated, possibly mirrored, and scaled so that the object fills
/// the picture.
fn draw_pose(common: &Category, stream: &mut Stream) -> (Vec<Part>, Pose) {
    const LOOSENESS: f32 = 0.07;
    const ROTATION: f32 = 0.45; // about 26 degrees either way: most objects have an upright position
    let rotation = stream.range(-ROTATION, ROTATION);
    let mirror = if stream.chance(0.5) { -1.0 } else { 1.0 };
    let [least, most] = common.domain.scale;
    let half = stream.range(least, most);
    let room = (1.0 - half).max(0.08);
    let at = [stream.range(-room, room), stream.range(-room, room)];
    let by = unit(rotation);
    let mut parts = common.shape.assemble(LOOSENESS, stream);
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
    (parts, Pose { at, half, rotation, turn: by, mirror })
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

/// An object's main colour, its hue, and whether this hue is the category's.
struct Main {
    colour: Colour,
    hue: f32,
    follows: bool,
}

fn draw_main(common: &Category, habit: f32, stream: &mut Stream) -> Main {
    let follows = stream.chance(habit);
    let (near, any) = (common.hue + stream.range(-0.04, 0.04), stream.uniform());
    let hue = if follows { near - near.floor() } else { any };
    Main { colour: hsv(hue, stream.range(0.55, 0.95), stream.range(0.45, 1.0)), hue, follows }
}

/// Draws the main colour, on a ground until its brightness differs enough from the ground's, at most [`TRIES`] times.
fn draw_separate(common: &Category, world: &World, ground: Option<f32>, stream: &mut Stream) -> Main {
    let mut main = draw_main(common, world.habit, stream);
    for _ in 1..TRIES {
        if ground.is_none_or(|ground| (luma(main.colour) - ground).abs() > world.separation) {
            break;
        }
        main = draw_main(common, world.habit, stream);
    }
    main
}

/// Draws the surface. The second colour is a mixture of the first with a darker colour, a paler colour or another hue.
fn draw_surface(common: &Category, world: &World, main: Main, stream: &mut Stream) -> Surface {
    let Main { colour: base, hue, follows: follows_hue } = main;
    let follows_pattern = stream.chance(world.habit);
    let any = pick(&Pattern::ALL, stream);
    let pattern = if follows_pattern { common.pattern } else { any };
    let second = match stream.below(3) {
        0 => base.map(|v| 0.4 * v),
        1 => base.map(|v| 0.3 * v + 0.68),
        _ => hsv(stream.uniform(), stream.range(0.3, 0.9), stream.range(0.3, 1.0)),
    };
    let colours = [base, mix(base, second, world.surface_contrast)];
    let texture = Texture::draw([1.4, 2.6], stream);
    Surface { pattern, texture, colours, hue, follows_hue, follows_pattern }
}

/// Draws muted colours until their mean brightness differs enough from the object's, at most [`TRIES`] times.
fn draw_background(common: &Category, world: &World, brightness: f32, stream: &mut Stream) -> Backdrop {
    let follows = stream.chance(world.background_habit);
    let any = pick(common.domain.backgrounds, stream);
    let kind = if follows { common.background } else { any };
    let texture = Texture::draw([1.0, 2.2], stream);
    let mut backdrop = Backdrop { kind, texture, colours: [[0.0; 3]; 2], follows };
    for _ in 0..TRIES {
        let hue = stream.uniform();
        let first = hsv(hue, stream.range(0.05, 0.6), stream.range(0.15, 0.95));
        let second = hsv(hue + stream.range(-0.25, 0.25), stream.range(0.05, 0.6), stream.range(0.15, 0.95));
        backdrop.colours = [first, mix(first, second, world.background_contrast)];
        if (backdrop.brightness() - brightness).abs() > world.separation {
            break;
        }
    }
    backdrop
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
/// object. `screen` is the size of the first (see `Domain::screen`).
fn draw_occluder(
    strength: f32,
    certain: bool,
    pose: Pose,
    screen: Vector,
    stream: &mut Stream,
) -> Option<(Part, Colour)> {
    if !stream.chance(strength) && !certain {
        return None;
    }
    let inward = unit(stream.range(0.0, std::f32::consts::TAU));
    let depth = stream.range(0.15, 0.3 + 0.3 * strength) * pose.half;
    let along = stream.range(-0.5, 0.5) * pose.half;
    let (kind, centre, half) = match stream.below(3) {
        0 => (ShapeKind::Box, screen[0] + pose.half - depth, screen),
        1 => (ShapeKind::Box, along, [0.4 * depth, screen[1]]),
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
