//! Boxes in an image: their overlap, their place in the image, and their offsets from other boxes.

/// The left, top, right and bottom edge (x1, y1, x2, y2) of a box in pixels, from the top left corner of the image. The
/// box of the first pixel alone is (0, 0, 1, 1).
pub type Edges = [f32; 4];

/// What moves a box to another: (dx, dy, dw, dh), offsets of the centre relative to the size and logarithms of ratios
/// of the sizes, all in the scale of a [`Coder`].
pub type Deltas = [f32; 4];

/// (x2 - x1) (y2 - y1)
pub fn area([x1, y1, x2, y2]: Edges) -> f32 {
    (x2 - x1) * (y2 - y1)
}

/// Whether a side is 0 or less, or NaN.
pub fn is_empty([x1, y1, x2, y2]: Edges) -> bool {
    let has_area = x1 < x2 && y1 < y2;
    !has_area
}

/// Intersection over union: I / (area a + area b - I), and 0 where I = 0, so that two empty boxes give 0.
///
/// The operations are in f32 and in the order of torchvision's `nms`. It is NaN only if an edge is infinite or NaN.
pub fn iou(a: Edges, b: Edges) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let intersection = width * height;
    if intersection > 0.0 { intersection / (area(a) + area(b) - intersection) } else { 0.0 }
}

/// The IoU of every object with every box, (objects, boxes).
pub fn overlaps(objects: &[Edges], boxes: &[Edges]) -> Vec<f32> {
    objects.iter().flat_map(|&object| boxes.iter().map(move |&other| iou(object, other))).collect()
}

/// The part of a box that lies in an image of this height and width. A box outside becomes empty.
pub fn clip([x1, y1, x2, y2]: Edges, (height, width): (usize, usize)) -> Edges {
    let (x, y) = (|x: f32| x.clamp(0.0, width as f32), |y: f32| y.clamp(0.0, height as f32));
    [x(x1), y(y1), x(x2), y(y2)]
}

/// The box after a resize of its image, whose height and width are `from` before and `to` after it.
pub fn scale([x1, y1, x2, y2]: Edges, from: (usize, usize), to: (usize, usize)) -> Edges {
    let scaled = |edge: f32, from: usize, to: usize| (f64::from(edge) * (to as f64 / from as f64)) as f32;
    let (x, y) = (|x| scaled(x, from.1, to.1), |y| scaled(y, from.0, to.0));
    [x(x1), y(y1), x(x2), y(y2)]
}

/// The largest dw and dh that [`Coder::decode`] uses, ln(1000 / 16): a box grows at most by a factor of 62.5.
const LARGEST_GROWTH: f64 = 4.135_166_556_742_356;

/// Describes a box, the target, by its offsets from another, the source (Girshick et al. 2014, "Rich feature
/// hierarchies", appendix C, <https://arxiv.org/abs/1311.2524>). With centres (x, y) and sizes (w, h):
///
/// dx = wx (x' - x) / w,  dy = wy (y' - y) / h,  dw = ww ln(w' / w),  dh = wh ln(h' / h)
///
/// Computed in f64 and rounded once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coder {
    /// The factors (wx, wy, ww, wh) of the deltas. Larger ones give the loss of the boxes more weight.
    pub weights: [f32; 4],
}

impl Coder {
    /// The coder of the first stage, from anchors.
    pub const FIRST_STAGE: Self = Self { weights: [1.0, 1.0, 1.0, 1.0] };
    /// The coder of the second stage, from proposals.
    pub const SECOND_STAGE: Self = Self { weights: [10.0, 10.0, 5.0, 5.0] };

    /// The deltas from `source` to `target`.
    ///
    /// # Panics
    /// When one of them is empty.
    pub fn encode(&self, source: Edges, target: Edges) -> Deltas {
        assert!(!is_empty(source) && !is_empty(target), "encode: an empty box, source {source:?}, target {target:?}");
        let [x, y, w, h] = centre_and_size(source);
        let [to_x, to_y, to_w, to_h] = centre_and_size(target);
        let deltas = [(to_x - x) / w, (to_y - y) / h, libm::log(to_w / w), libm::log(to_h / h)];
        std::array::from_fn(|i| (f64::from(self.weights[i]) * deltas[i]) as f32)
    }

    /// The box that `deltas` make of `source`, with dw and dh of at most ln(1000 / 16). NaN stays NaN.
    pub fn decode(&self, source: Edges, deltas: Deltas) -> Edges {
        let [x, y, w, h] = centre_and_size(source);
        let [dx, dy, dw, dh] = std::array::from_fn(|i| f64::from(deltas[i]) / f64::from(self.weights[i]));
        let (x, y) = (x + dx * w, y + dy * h);
        let (w, h) = (w * growth(dw), h * growth(dh));
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0].map(|edge| edge as f32)
    }
}

/// e^d, d at most `LARGEST_GROWTH`. `f64::min` would turn NaN into the largest growth.
fn growth(d: f64) -> f64 {
    libm::exp(if d > LARGEST_GROWTH { LARGEST_GROWTH } else { d })
}

/// (x, y) of the centre, width, height.
fn centre_and_size(edges: Edges) -> [f64; 4] {
    let [x1, y1, x2, y2] = edges.map(f64::from);
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}
