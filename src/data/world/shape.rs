//! Silhouettes: parts with signed distances, and categories as trees of attached parts.

use crate::rng::Stream;

/// A point or direction in the plane.
pub(super) type Vector = [f32; 2];

/// The kinds of parts. Each is symmetric about its own x axis, so mirroring a part only mirrors its position and
/// direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ShapeKind {
    Ellipse,
    Capsule,
    Box,
    Triangle,
    Star,
    Ring,
    Arc,
    Cross,
}

pub(super) const KINDS: [ShapeKind; 8] = [
    ShapeKind::Ellipse,
    ShapeKind::Triangle,
    ShapeKind::Ring,
    ShapeKind::Box,
    ShapeKind::Star,
    ShapeKind::Capsule,
    ShapeKind::Arc,
    ShapeKind::Cross,
];

/// A placed part. `half` has its half length along `dir` (a unit vector) and its half width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub kind: ShapeKind,
    pub at: Vector,
    pub dir: Vector,
    pub half: Vector,
}

/// How a part is attached to an earlier one: where on its outline, how deep, and at which angle.
#[derive(Clone, Copy, Debug)]
struct Joint {
    parent: usize,
    /// Where on the parent's outline, in radians from the parent's axis.
    angle: f32,
    /// The part's own axis, in radians from the outward direction.
    tilt: f32,
    /// How far beyond the parent's outline the centre lies, in the part's half lengths.
    out: f32,
    kind: ShapeKind,
    half: Vector,
}

/// The shape of a category: a root part and the parts attached to it, with characteristic places and sizes.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    kind: ShapeKind,
    half: Vector,
    angle: f32,
    joints: Vec<Joint>,
}

impl Shape {
    /// Draws the silhouette of a category. Root kinds and arrangements alternate, so that any forty consecutive
    /// categories have every combination. Everything else is random.
    pub fn draw(category: u32, stream: &mut Stream) -> Self {
        let kind = KINDS[category as usize % KINDS.len()];
        let half = [1.0, stream.range(0.55, 1.0)];
        let angle = stream.below(4) as f32 * 0.25 * std::f32::consts::PI;
        let mut shape = Shape { kind, half, angle, joints: Vec::new() };
        match category % 5 {
            0 => shape.attach_pairs(stream),
            1 => shape.attach_around(stream),
            2 => shape.attach_chain(stream),
            3 => shape.attach_freely(stream),
            _ => shape.attach_twin(stream),
        }
        shape
    }

    /// Returns the parts of one instance: every joint bends and every part stretches by normal deviates times
    /// `looseness`.
    pub fn assemble(&self, looseness: f32, stream: &mut Stream) -> Vec<Part> {
        let mut stretch = |half: Vector| half.map(|h| h * (1.0 + looseness * stream.normal().clamp(-2.0, 2.0)));
        let root = Part { kind: self.kind, at: [0.0; 2], dir: unit(self.angle), half: stretch(self.half) };
        let halves: Vec<Vector> = self.joints.iter().map(|joint| stretch(joint.half)).collect();
        let mut parts = vec![root];
        for (joint, half) in self.joints.iter().zip(halves) {
            let parent = parts[joint.parent];
            let bend = looseness * stream.normal().clamp(-2.0, 2.0);
            let outward = turn(parent.dir, unit(joint.angle + bend));
            let distance = parent.reach(joint.angle + bend) + joint.out * half[0];
            let at = [parent.at[0] + distance * outward[0], parent.at[1] + distance * outward[1]];
            parts.push(Part { kind: joint.kind, at, dir: turn(outward, unit(joint.tilt + bend)), half });
        }
        parts
    }

    /// Attaches one or two mirrored pairs, and often a single part on the axis.
    fn attach_pairs(&mut self, stream: &mut Stream) {
        let first = stream.range(0.5, 1.3);
        let pairs = 1 + stream.below(2);
        for pair in 0..pairs {
            let limb = Joint { angle: first + 1.3 * pair as f32, tilt: stream.range(-0.6, 0.6), ..limb(0, stream) };
            self.joints.push(limb);
            self.joints.push(Joint { angle: -limb.angle, tilt: -limb.tilt, ..limb });
        }
        if stream.chance(0.7) {
            let angle = if stream.chance(0.5) { 0.0 } else { std::f32::consts::PI };
            self.joints.push(Joint { angle, tilt: 0.0, ..limb(0, stream) });
        }
    }

    /// Attaches three to five equal parts, evenly around a rounder root.
    fn attach_around(&mut self, stream: &mut Stream) {
        self.half[1] = 0.5 + 0.5 * self.half[1];
        let count = 3 + stream.below(3);
        let limb = Joint { tilt: stream.range(-0.5, 0.5), ..limb(0, stream) };
        let step = std::f32::consts::TAU / count as f32;
        self.joints.extend((0..count).map(|k| Joint { angle: step * k as f32, ..limb }));
    }

    /// Attaches two or three parts in a row, each to the previous one, on a straight or curved line.
    fn attach_chain(&mut self, stream: &mut Stream) {
        let bend = stream.range(-0.7, 0.7);
        for parent in 0..2 + stream.below(2) {
            let mut limb = Joint { angle: bend, tilt: 0.0, out: stream.range(0.5, 0.75), ..limb(parent, stream) };
            limb.half = limb.half.map(|h| 1.3 * h);
            self.joints.push(limb);
        }
    }

    /// Attaches two or three different parts at well separated places, without symmetry.
    fn attach_freely(&mut self, stream: &mut Stream) {
        let count = 2 + stream.below(2);
        let first = stream.range(0.0, std::f32::consts::TAU);
        for k in 0..count {
            let angle = first + (1.2 + stream.range(0.0, 0.7)) * k as f32;
            self.joints.push(Joint { angle, tilt: stream.range(-0.8, 0.8), ..limb(0, stream) });
        }
    }

    /// Attaches a second body of the root's kind at the end of a bar, and often a third part on the root.
    fn attach_twin(&mut self, stream: &mut Stream) {
        let bar = Joint {
            parent: 0,
            angle: stream.below(3) as f32 * 0.25 * std::f32::consts::PI,
            tilt: 0.0,
            out: stream.range(0.4, 0.8),
            kind: if stream.chance(0.5) { ShapeKind::Capsule } else { ShapeKind::Box },
            half: [stream.range(0.3, 0.55), stream.range(0.22, 0.35)],
        };
        let size = stream.range(0.65, 1.0);
        let twin =
            Joint { parent: 1, angle: 0.0, tilt: 0.0, out: 0.7, kind: self.kind, half: self.half.map(|h| size * h) };
        self.joints.extend([bar, twin]);
        if stream.chance(0.7) {
            let angle = bar.angle + std::f32::consts::PI * if stream.chance(0.5) { 1.0 } else { 0.5 };
            self.joints.push(Joint { angle, tilt: 0.0, ..limb(0, stream) });
        }
    }
}

/// Draws the kind and size of a part on `parent`. Kinds with holes or points are larger, so that they stay legible.
fn limb(parent: usize, stream: &mut Stream) -> Joint {
    let kind = KINDS[stream.below(KINDS.len())];
    let length = stream.range(0.4, 0.8);
    let half = match kind {
        ShapeKind::Capsule => [length, length * stream.range(0.3, 0.5)],
        ShapeKind::Ring | ShapeKind::Arc | ShapeKind::Star | ShapeKind::Cross => {
            [0.15 + 0.8 * length, 0.15 + 0.8 * length]
        }
        _ => [length, length * stream.range(0.5, 1.0)],
    };
    Joint { parent, angle: 0.0, tilt: 0.0, out: stream.range(0.45, 0.8), kind, half }
}

impl Part {
    /// Returns the signed distance from `p` to the outline, negative inside. Near the outline it is exact or a close
    /// bound, which is enough for antialiasing. Source: <https://iquilezles.org/articles/distfunctions2d/>.
    pub fn distance(&self, p: Vector) -> f32 {
        let q = [p[0] - self.at[0], p[1] - self.at[1]];
        let [x, y] = [q[0] * self.dir[0] + q[1] * self.dir[1], q[1] * self.dir[0] - q[0] * self.dir[1]];
        let [a, b] = self.half;
        let round = a / b; // scales the half width to the half length, for the kinds defined on a circle
        match self.kind {
            ShapeKind::Ellipse => ellipse([x, y], a, b),
            ShapeKind::Capsule => length([x - x.clamp(-(a - b).max(0.0), (a - b).max(0.0)), y]) - b,
            ShapeKind::Box => rectangle([x, y], a, b),
            ShapeKind::Triangle => {
                let slope = ((x - a) * b + y.abs() * 2.0 * a) / length([b, 2.0 * a]);
                slope.max(-x - a)
            }
            ShapeKind::Star => star([y * round, x], a) / round.max(1.0),
            ShapeKind::Ring => ((length([x, y * round]) - 0.74 * a).abs() - 0.26 * a) / round.max(1.0),
            ShapeKind::Arc => arc([y * round, -x], 0.75 * a, 0.25 * a) / round.max(1.0),
            ShapeKind::Cross => rectangle([x, y], a, 0.36 * b).min(rectangle([x, y], 0.36 * a, b)),
        }
    }

    /// Returns the half extents of the axis-aligned box around the part.
    pub fn extent(&self) -> Vector {
        let [a, b] = self.half;
        let [dx, dy] = self.dir.map(f32::abs);
        match self.kind {
            ShapeKind::Ellipse | ShapeKind::Ring | ShapeKind::Arc => {
                [length([a * dx, b * dy]), length([a * dy, b * dx])]
            }
            _ => [a * dx + b * dy, a * dy + b * dx],
        }
    }

    /// Returns the approximate distance of the outline from the centre, `angle` radians from the axis.
    fn reach(&self, angle: f32) -> f32 {
        let [c, s] = unit(angle);
        let hollow = match self.kind {
            ShapeKind::Star => 0.6,
            ShapeKind::Triangle => 0.65,
            ShapeKind::Cross => 0.8,
            _ => 0.9,
        };
        hollow / length([c / self.half[0], s / self.half[1]])
    }
}

fn ellipse([x, y]: Vector, a: f32, b: f32) -> f32 {
    let k = length([x / a, y / b]);
    let gradient = length([x / (a * a), y / (b * b)]);
    k * (k - 1.0) / gradient.max(1e-6)
}

/// A box with slightly rounded corners.
fn rectangle([x, y]: Vector, a: f32, b: f32) -> f32 {
    let r = 0.15 * a.min(b);
    let q = [x.abs() - a + r, y.abs() - b + r];
    length(q.map(|v| v.max(0.0))) + q[0].max(q[1]).min(0.0) - r
}

/// A star with five points, the first towards +y. Reflections fold it onto one edge.
fn star([x, y]: Vector, r: f32) -> f32 {
    const FOLD: Vector = [0.809_017, -0.587_785_25]; // cos and -sin of 36 degrees
    const EDGE: Vector = [0.45 * 0.587_785_25, 0.45 * 0.809_017 - 1.0];
    let mut p = [x.abs(), y];
    for fold in [FOLD, [-FOLD[0], FOLD[1]]] {
        let over = 2.0 * (p[0] * fold[0] + p[1] * fold[1]).max(0.0);
        p = [p[0] - over * fold[0], p[1] - over * fold[1]];
    }
    p = [p[0].abs(), p[1] - r];
    let along = (p[0] * EDGE[0] + p[1] * EDGE[1]) / (EDGE[0] * EDGE[0] + EDGE[1] * EDGE[1]);
    let h = along.clamp(0.0, r);
    let d = length([p[0] - EDGE[0] * h, p[1] - EDGE[1] * h]);
    if p[1] * EDGE[0] - p[0] * EDGE[1] > 0.0 { d } else { -d }
}

/// The part of a ring of radius `r` and half width `w` that lies within 115 degrees of +y.
fn arc([x, y]: Vector, r: f32, w: f32) -> f32 {
    const END: Vector = [0.906_307_8, -0.422_618_27]; // sine and cosine of 115 degrees
    let x = x.abs();
    if END[1] * x > END[0] * y { length([x - END[0] * r, y - END[1] * r]) - w } else { (length([x, y]) - r).abs() - w }
}

pub(super) fn length([x, y]: Vector) -> f32 {
    (x * x + y * y).sqrt()
}

/// Returns the direction at an angle in radians.
pub(super) fn unit(angle: f32) -> Vector {
    [libm::cosf(angle), libm::sinf(angle)]
}

/// Returns `v` rotated by the angle of the unit vector `by`.
pub(super) fn turn(v: Vector, by: Vector) -> Vector {
    [v[0] * by[0] - v[1] * by[1], v[0] * by[1] + v[1] * by[0]]
}
