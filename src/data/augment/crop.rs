//! Random resized crop: the choice of a part of an image, and its antialiased bilinear resampling.

use crate::rng::Stream;

use super::config::Crop;

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Window {
    /// Returns the whole of a square image.
    pub fn all(size: usize) -> Self {
        Self { top: 0, left: 0, height: size, width: size }
    }

    /// Draws a random part of a square image, as torchvision's `RandomResizedCrop.get_params` does: the area is
    /// uniform in `scale`, and the logarithm of the ratio is uniform. After ten parts that do not fit, returns the
    /// largest centred part with an allowed ratio.
    pub fn random(size: usize, crop: &Crop, stream: &mut Stream) -> Self {
        let area = (size * size) as f64;
        let [low, high] = crop.ratio.map(|ratio| libm::log(f64::from(ratio)) as f32);
        for _ in 0..10 {
            let target = area * f64::from(stream.range(crop.scale[0], crop.scale[1]));
            let ratio = libm::exp(f64::from(stream.range(low, high)));
            let width = (target * ratio).sqrt().round_ties_even() as usize;
            let height = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=size).contains(&width) && (1..=size).contains(&height) {
                let top = stream.below(size - height + 1);
                let left = stream.below(size - width + 1);
                return Self { top, left, height, width };
            }
        }
        Self::centred(size, crop.ratio)
    }

    /// Returns the largest centred part of a square image with an allowed ratio.
    fn centred(size: usize, [low, high]: [f32; 2]) -> Self {
        let part = |ratio: f32| ((size as f32 * ratio).round_ties_even() as usize).clamp(1, size);
        let (height, width) = match () {
            () if low > 1.0 => (part(1.0 / low), size),
            () if high < 1.0 => (size, part(high)),
            () => (size, size),
        };
        Self { top: (size - height) / 2, left: (size - width) / 2, height, width }
    }
}

/// Resamples windows of byte images. It reuses its memory for the weights and one row.
#[derive(Debug, Default)]
pub struct Resampler {
    rows: Taps,
    columns: Taps,
    row: Vec<f32>,
}

impl Resampler {
    /// Writes a window of `source` (source_size, source_size, 3), resized and, with `flip`, mirrored, into `planes`
    /// (3, size, size). The value 255 becomes 1. As in torchvision's `resized_crop(.., BILINEAR, antialias=True)`,
    /// pixels outside the window are not used.
    ///
    /// # Panics
    /// When a slice does not have the right length, or the window is empty or not inside the image.
    pub fn resample(
        &mut self,
        source: &[u8],
        source_size: usize,
        window: Window,
        flip: bool,
        size: usize,
        planes: &mut [f32],
    ) {
        let Window { top, left, height, width } = window;
        assert_eq!(source.len(), 3 * source_size * source_size, "an image of {source_size}x{source_size}");
        assert_eq!(planes.len(), 3 * size * size, "three planes of {size}x{size}");
        assert!(height > 0 && width > 0, "an empty window: {window:?}");
        assert!(
            top + height <= source_size && left + width <= source_size,
            "{window:?} in {source_size}x{source_size}"
        );
        self.rows.set(height, size, 1.0 / 255.0, false);
        self.columns.set(width, size, 1.0, flip);
        self.row.resize(3 * width, 0.0);
        let (red, rest) = planes.split_at_mut(size * size);
        let (green, blue) = rest.split_at_mut(size * size);
        let rows = red.chunks_exact_mut(size).zip(green.chunks_exact_mut(size)).zip(blue.chunks_exact_mut(size));
        for (y, ((red, green), blue)) in rows.enumerate() {
            let (first, weights) = self.rows.at(y);
            let line = |i: usize| &source[3 * ((top + first + i) * source_size + left)..][..3 * width];
            mix_lines(weights, line, &mut self.row);
            spread_row(&self.row, &self.columns, [red, green, blue]);
        }
    }
}

/// The weighted sum of byte rows.
fn mix_lines<'a>(weights: &[f32], line: impl Fn(usize) -> &'a [u8], row: &mut [f32]) {
    // Enlarging always needs two rows (one if the window has only one row). One pass adds both.
    let (a, b) = (weights[0], *weights.get(1).unwrap_or(&0.0));
    for ((sum, &x), &y) in row.iter_mut().zip(line(0)).zip(line(1.min(weights.len() - 1))) {
        *sum = a * f32::from(x) + b * f32::from(y);
    }
    for (i, weight) in weights.iter().enumerate().skip(2) {
        row.iter_mut().zip(line(i)).for_each(|(sum, &byte)| *sum += weight * f32::from(byte));
    }
}

/// Resamples one interleaved row along x into a row of each plane.
fn spread_row(row: &[f32], columns: &Taps, out: [&mut [f32]; 3]) {
    match columns.each {
        2 => spread_row_of(row, columns, 2, out), // enlarging: the compiler unrolls
        each => spread_row_of(row, columns, each, out),
    }
}

#[inline(always)]
fn spread_row_of(row: &[f32], columns: &Taps, each: usize, [red, green, blue]: [&mut [f32]; 3]) {
    let taps = columns.first.iter().zip(columns.weights.chunks_exact(each));
    for (((red, green), blue), (first, weights)) in red.iter_mut().zip(green).zip(blue).zip(taps) {
        let pixels = &row[3 * first..][..3 * each];
        let sum = |channel: usize| {
            let product = |i: usize| weights[i] * pixels[3 * i + channel];
            (1..each).fold(product(0), |sum, i| sum + product(i))
        };
        (*red, *green, *blue) = (sum(0), sum(1), sum(2));
    }
}

/// For each output position, the first input position and the weights from there on.
#[derive(Debug, Default)]
struct Taps {
    first: Vec<usize>,
    weights: Vec<f32>,
    each: usize,
}

impl Taps {
    /// Sets the triangle filter of PyTorch's antialiased bilinear interpolation from `input` to `output` positions,
    /// which is widened when shrinking. The weights of a position sum to `total`. If `mirrored`, the outputs are in
    /// reverse order.
    fn set(&mut self, input: usize, output: usize, total: f32, mirrored: bool) {
        let scale = input as f64 / output as f64;
        let reach = scale.max(1.0);
        // At most this many positions lie within `reach` of a centre. If there are fewer, the other weights are zero.
        self.each = ((2.0 * reach).ceil() as usize).min(input);
        self.first.clear();
        self.weights.clear();
        for i in 0..output {
            let i = if mirrored { output - 1 - i } else { i };
            let centre = scale * (i as f64 + 0.5);
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let first = first.min(input - self.each);
            let weight = |j: usize| (1.0 - ((first + j) as f64 + 0.5 - centre).abs() / reach).max(0.0);
            let sum: f64 = (0..self.each).map(weight).sum();
            self.first.push(first);
            self.weights.extend((0..self.each).map(|j| (weight(j) / sum) as f32 * total));
        }
    }

    fn at(&self, i: usize) -> (usize, &[f32]) {
        (self.first[i], &self.weights[i * self.each..][..self.each])
    }
}
