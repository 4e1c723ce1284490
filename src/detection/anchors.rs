//! Anchors: the boxes of fixed sizes at each position of a map, which the first stage scores and moves.

use super::boxes::Edges;

/// The anchors of a map: at each position every size with every ratio.
///
/// The anchor of size s and ratio q has the width s / sqrt q and the height s sqrt q. The anchors of the position in row
/// i and column j are centred on the pixel (j stride, i stride), the top left corner of the part of the image that the
/// position stands for. They are neither rounded nor clipped to the image, as in detectron2's `DefaultAnchorGenerator`
/// with an offset of 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchors {
    /// The square roots of the areas, in pixels.
    pub sizes: Vec<f32>,
    /// Height divided by width.
    pub ratios: Vec<f32>,
    /// The pixels from one position of the map to the next.
    pub stride: usize,
}

impl Anchors {
    /// The number of anchors at one position.
    pub fn per_position(&self) -> usize {
        self.sizes.len() * self.ratios.len()
    }

    /// All anchors of a map of this height and width, in the order row, column, size, ratio.
    pub fn of_map(&self, (height, width): (usize, usize)) -> Vec<Edges> {
        let shapes = self.at_origin();
        let corner = |at: usize| (at * self.stride) as f32;
        let positions = (0..height).flat_map(|row| (0..width).map(move |column| (corner(column), corner(row))));
        positions
            .flat_map(|(x, y)| shapes.iter().map(move |[x1, y1, x2, y2]| [x1 + x, y1 + y, x2 + x, y2 + y]))
            .collect()
    }

    /// The anchors of the first position.
    fn at_origin(&self) -> Vec<Edges> {
        self.sizes.iter().flat_map(|&size| self.ratios.iter().map(move |&ratio| centred(size, ratio))).collect()
    }
}

/// The anchor of a size and ratio with its centre at (0, 0).
fn centred(size: f32, ratio: f32) -> Edges {
    let root = f64::from(ratio).sqrt();
    let (x, y) = (f64::from(size) / root / 2.0, f64::from(size) * root / 2.0);
    [-x, -y, x, y].map(|edge| edge as f32)
}
