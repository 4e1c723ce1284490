//! Colour fields: the surface patterns of objects, and the backgrounds.

use serde::Deserialize;
use serde::Serialize;

use super::shape::Vector;
use super::shape::length;
use super::shape::unit;
use crate::rng::Stream;

/// Red, green and blue, 0 to 1.
pub(super) type Colour = [f32; 3];

/// Surface patterns: two colours and how they alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// One colour.
    Plain,
    /// Parallel bands.
    Stripes,
    /// Discs on a grid.
    Dots,
    /// A chequerboard.
    Checks,
    /// A slow change from one side to the other.
    Gradient,
    /// Irregular patches.
    Blotches,
    /// Concentric bands.
    Rings,
}

impl Pattern {
    /// All patterns.
    pub const ALL: [Pattern; 7] = [
        Pattern::Plain,
        Pattern::Stripes,
        Pattern::Dots,
        Pattern::Checks,
        Pattern::Gradient,
        Pattern::Blotches,
        Pattern::Rings,
    ];
}

/// Kinds of background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Background {
    /// A slow change from one side to the other.
    Gradient,
    /// Smooth noise.
    Clouds,
    /// A plain sky above textured ground.
    Horizon,
    /// A wall of bricks.
    Bricks,
    /// Parallel bands.
    Stripes,
    /// Soft discs.
    Blobs,
    /// Square tiles; in evaluation sets only.
    Tiles,
    /// Wavy bands; in evaluation sets only.
    Waves,
}

/// How two colours mix over the plane: 0 is the first colour, 1 is the second.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    axis: Vector,
    frequency: f32,
    shift: Vector,
    lattice: [f32; LATTICE * LATTICE],
}

/// Noise repeats after this many cells.
const LATTICE: usize = 8;

impl Texture {
    /// Draws direction, phase and noise, and the frequency (cycles per unit) from the range `frequency`.
    pub fn draw(frequency: Vector, stream: &mut Stream) -> Self {
        let axis = unit(stream.range(0.0, std::f32::consts::TAU));
        let frequency = stream.range(frequency[0], frequency[1]);
        let shift = [stream.range(-1.0, 1.0), stream.range(-1.0, 1.0)];
        Self { axis, frequency, shift, lattice: std::array::from_fn(|_| stream.uniform()) }
    }

    /// Returns the pattern's mix at `p`. Edges are as soft as the size of a pixel, `pixel`, in the units of `p`.
    pub fn pattern(&self, pattern: Pattern, p: Vector, pixel: f32) -> f32 {
        let [u, v] = self.turned(p);
        let f = self.frequency;
        match pattern {
            Pattern::Plain => 0.0,
            Pattern::Stripes => self.bands(u, pixel),
            Pattern::Dots => {
                let cell = [fraction(u * f) - 0.5, fraction(v * f) - 0.5];
                step(0.34 - length(cell), f * pixel)
            }
            Pattern::Checks => {
                let (a, b) = (self.bands(u, pixel), self.bands(v, pixel));
                a + b - 2.0 * a * b
            }
            Pattern::Gradient => (0.5 + 0.55 * (p[0] * self.axis[0] + p[1] * self.axis[1])).clamp(0.0, 1.0),
            Pattern::Blotches => step(self.noise([u * f, v * f]) - 0.5, f * pixel),
            Pattern::Rings => self.bands(length([p[0] - 0.4 * self.shift[0], p[1] - 0.4 * self.shift[1]]), pixel),
        }
    }

    /// Returns the background's mix at `p`, as [`Texture::pattern`].
    pub fn background(&self, background: Background, p: Vector, pixel: f32) -> f32 {
        let [u, v] = self.turned(p);
        let f = self.frequency;
        match background {
            Background::Gradient => (0.5 + 0.5 * (p[0] * self.axis[0] + p[1] * self.axis[1])).clamp(0.0, 1.0),
            Background::Clouds => 0.65 * self.noise([u * f, v * f]) + 0.35 * self.noise([2.3 * u * f, 2.3 * v * f]),
            Background::Horizon => self.horizon(p, pixel),
            Background::Bricks => self.bricks(p, pixel),
            Background::Stripes => self.bands(u, pixel),
            Background::Blobs => step(self.noise([u * f, v * f]) - 0.6, 0.25),
            Background::Tiles => {
                let (a, b) = (self.bands(p[0], pixel), self.bands(p[1], pixel));
                a + b - 2.0 * a * b
            }
            Background::Waves => {
                let wave = 2.0 * (fraction(0.7 * f * v) - 0.5).abs();
                self.bands(u + 0.5 / f * wave * wave * (3.0 - 2.0 * wave), pixel)
            }
        }
    }

    /// The sky is 0. The ground is below a slanted line and has texture.
    fn horizon(&self, p: Vector, pixel: f32) -> f32 {
        let below = p[1] - 0.3 * self.shift[1] - 0.2 * self.axis[0] * p[0];
        let rough = self.noise([4.0 * p[0] + self.shift[0], 8.0 * p[1]]);
        step(below, pixel) * (0.6 + 0.4 * rough)
    }

    /// The mortar is 0. Every second row is shifted by half a brick, and the shades of the bricks differ a little.
    fn bricks(&self, p: Vector, pixel: f32) -> f32 {
        let row = 1.6 * self.frequency * (p[1] + self.shift[1]);
        let offset = if row.floor() as i32 & 1 == 0 { 0.0 } else { 0.5 };
        let column = 0.8 * self.frequency * (p[0] + self.shift[0]) + offset;
        let up = (0.5 - (fraction(row) - 0.5).abs()) / (1.6 * self.frequency);
        let along = (0.5 - (fraction(column) - 0.5).abs()) / (0.8 * self.frequency);
        let shade = self.lattice[cell(row.floor(), column.floor())];
        step(up.min(along) - 0.04, pixel) * (0.7 + 0.3 * shade)
    }

    /// Bands of equal width across `t`.
    fn bands(&self, t: f32, pixel: f32) -> f32 {
        let wave = 2.0 * (fraction(t * self.frequency) - 0.5).abs();
        step(wave - 0.5, 2.0 * self.frequency * pixel)
    }

    /// Value noise, 0 to 1.
    fn noise(&self, [x, y]: Vector) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (tx, ty) = (smooth(x - x0), smooth(y - y0));
        let value = |dx: f32, dy: f32| self.lattice[cell(y0 + dy, x0 + dx)];
        let top = value(0.0, 0.0) + tx * (value(1.0, 0.0) - value(0.0, 0.0));
        let bottom = value(0.0, 1.0) + tx * (value(1.0, 1.0) - value(0.0, 1.0));
        top + ty * (bottom - top)
    }

    fn turned(&self, p: Vector) -> Vector {
        let q = [p[0] + self.shift[0], p[1] + self.shift[1]];
        [q[0] * self.axis[0] + q[1] * self.axis[1], q[1] * self.axis[0] - q[0] * self.axis[1]]
    }
}

fn cell(row: f32, column: f32) -> usize {
    let wrap = |i: f32| (i as i32).rem_euclid(LATTICE as i32) as usize;
    wrap(row) * LATTICE + wrap(column)
}

fn fraction(t: f32) -> f32 {
    t - t.floor()
}

/// Returns 0 below zero and 1 above it, with a ramp of the given width in between.
pub(super) fn step(t: f32, width: f32) -> f32 {
    (0.5 + t / width).clamp(0.0, 1.0)
}

pub(super) fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    std::array::from_fn(|c| a[c] + t * (b[c] - a[c]))
}

/// A colour from hue (0 to 1, red at 0), saturation and value.
pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> Colour {
    std::array::from_fn(|channel| {
        let k = 6.0 * fraction(hue + [5.0, 3.0, 1.0][channel] / 6.0);
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}

/// Perceived brightness, Rec. 601.
pub(super) fn luma([r, g, b]: Colour) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}
