//! ROIAlign over maps (H, W, N, C) in its aligned form (He et al. 2017, <https://arxiv.org/abs/1703.06870>; "v2" in
//! detectron2): a region is cut into P x P bins, and a bin is the mean of samples, each interpolated from four positions.
//!
//! Coordinates are computed in f32, in this order: X = x1 s - 0.5, width w = (x2 s - 0.5) - X, bin b = w / P, samples of a
//! bin g = ceil(b) unless their number is given, and sample i of bin p at X + p b + (i + 0.5) b / g. A sample more than one
//! position outside the map is 0 and counts. All results are written (=).

use std::ops::Range;

use crate::kernels::shapes::Region;
use crate::kernels::shapes::RoiShape;

use super::check_len;
use super::isa::Isa;
use super::isa::isa;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::with_scratch;
use super::rows::Output;
use super::rows::Span;
use super::rows::Tiled;
use super::rows::sweep;
use super::vector::Element;
use super::vector::Vector;

/// Channels of an image that one task of the backward pass sums: its sums, (H, W, channels), stay in the second-level
/// cache.
const CHUNK: usize = 64;

/// A position of a map, y W + x, and its weight in a bin.
type Tap = (f32, usize);

/// y (P, P, R, C) = the maps of the regions.
pub fn forward<E: Element>(y: &mut [E], x: &[E], regions: &[Region], shape: &RoiShape) {
    shape.check("roi_align::forward", x, y, regions);
    let (y, isa) = (Output::new(y), isa());
    let &RoiShape { batch, channels, .. } = shape;
    for_each(regions.len(), |r| {
        let (region, row) = (regions[r], batch * channels);
        shape.for_each_bin(region.edges, |bin, taps| {
            let at = (bin * regions.len() + r) * channels;
            let work = WeightedSum { y: y.from(at), x: &x[region.image * channels..], row, taps };
            // SAFETY: the taps lie in the map, and only this task writes the map of its region.
            unsafe { sweep(isa, work, 0..1, 0..channels) };
        });
    });
}

/// dx (H, W, N, C) = for each position, the sum of dy over the bins that it takes part in, times its weights, in the order
/// of the regions.
pub fn backward<E: Element>(dx: &mut [E], dy: &[E], regions: &[Region], shape: &RoiShape) {
    shape.check("roi_align::backward", dx, dy, regions);
    let (dx, isa) = (Shared::new(dx), isa());
    let &RoiShape { batch, height, width, channels, .. } = shape;
    for_each(batch * channels.div_ceil(CHUNK), |index| {
        let (image, first) = (index % batch, index / batch * CHUNK);
        let columns = first..channels.min(first + CHUNK);
        with_scratch(height * width * columns.len(), |sums| {
            shape.sum_of_image(isa, sums, dy, (image, columns.clone()), regions);
            for (position, sums) in sums.chunks_exact(columns.len()).enumerate() {
                let at = (position * batch + image) * channels + first;
                // SAFETY: only this task writes these columns of its image.
                let dx = unsafe { dx.slice(at, columns.len()) };
                dx.iter_mut().zip(sums).for_each(|(dx, &sum)| *dx = E::from_f32(sum));
            }
        });
    });
}

impl RoiShape {
    fn check<E>(&self, operation: &str, x: &[E], y: &[E], regions: &[Region]) {
        let describe = || format!("{operation} of {self:?} with {} regions", regions.len());
        check_len(&describe(), "x", x, self.input_len());
        check_len(&describe(), "y", y, self.output_len(regions.len()));
        let outside =
            |region: &&Region| region.image >= self.batch || region.edges.iter().any(|edge| !edge.is_finite());
        assert!(self.side > 0 && self.channels > 0, "{}: empty maps", describe());
        assert!(!regions.iter().any(|region| outside(&region)), "{}: {:?}", describe(), regions.iter().find(outside));
    }

    /// Sets `sums` (H, W, columns) to the gradient of some channels of an image.
    fn sum_of_image<E: Element>(
        &self,
        isa: Isa,
        sums: &mut [f32],
        dy: &[E],
        (image, columns): (usize, Range<usize>),
        regions: &[Region],
    ) {
        sums.fill(0.0);
        let (sums, row) = (Output::new(sums), columns.len());
        for (r, region) in regions.iter().enumerate().filter(|(_, region)| region.image == image) {
            self.for_each_bin(region.edges, |bin, taps| {
                let dy = &dy[(bin * regions.len() + r) * self.channels + columns.start..];
                let work = Scatter { sums, dy, row, taps };
                // SAFETY: the taps lie in the map, and the sums belong to this task.
                unsafe { sweep(isa, work, 0..1, 0..row) };
            });
        }
    }

    /// Calls `body(bin, taps)` for every bin py P + px of a region.
    fn for_each_bin(&self, edges: [f32; 4], mut body: impl FnMut(usize, &[Tap])) {
        let rows = self.samples_along([edges[1], edges[3]], self.height);
        let columns = self.samples_along([edges[0], edges[2]], self.width);
        let mut taps = Vec::new();
        for (py, px) in (0..self.side).flat_map(|py| (0..self.side).map(move |px| (py, px))) {
            self.taps(&mut taps, rows.of_bin(py), columns.of_bin(px));
            body(py * self.side + px, &taps);
        }
    }

    /// Lists the positions that a bin is made of, with their weights.
    fn taps(&self, taps: &mut Vec<Tap>, rows: &[Sample], columns: &[Sample]) {
        taps.clear();
        let count = (rows.len() * columns.len()).max(1) as f32;
        for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            for (&(y, weight_y), &(x, weight_x)) in row.iter().flat_map(|y| column.iter().map(move |x| (y, x))) {
                let weight = weight_y * weight_x;
                if weight != 0.0 {
                    taps.push((weight / count, y * self.width + x));
                }
            }
        }
    }

    /// The samples of all bins along one axis of `size` positions, between two edges in pixels.
    fn samples_along(&self, [low, high]: [f32; 2], size: usize) -> Samples {
        let start = low * self.scale - 0.5;
        let bin = (high * self.scale - 0.5 - start) / self.side as f32;
        let each = if self.samples > 0 { self.samples } else { bin.ceil().max(0.0) as usize };
        let at = |p: usize, i: usize| start + p as f32 * bin + (i as f32 + 0.5) * bin / each as f32;
        let all = (0..self.side).flat_map(|p| (0..each).map(move |i| sample(at(p, i), size)));
        Samples { each, all: all.collect() }
    }
}

/// A sample along one axis: two neighbouring positions and their weights, both 0 outside the map.
type Sample = [(usize, f32); 2];

/// The samples of all bins along one axis.
struct Samples {
    each: usize,
    all: Vec<Sample>,
}

impl Samples {
    fn of_bin(&self, bin: usize) -> &[Sample] {
        &self.all[bin * self.each..][..self.each]
    }
}

fn sample(at: f32, size: usize) -> Sample {
    if !(-1.0..=size as f32).contains(&at) {
        return [(0, 0.0); 2];
    }
    let (at, last) = (at.max(0.0), size - 1);
    let low = at as usize;
    if low >= last { [(last, 1.0), (last, 0.0)] } else { [(low, 1.0 - at.fract()), (low + 1, at.fract())] }
}

/// y = the sum over the taps of weight times the row of x at their position.
#[derive(Clone, Copy)]
struct WeightedSum<'a, E> {
    y: Output<E>,
    x: &'a [E],
    row: usize,
    taps: &'a [Tap],
}

impl<E: Element> Tiled for WeightedSum<'_, E> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the taps' rows lie in x.
        unsafe {
            let mut sum = V::splat(0.0);
            for &(weight, position) in self.taps {
                let x: V = span.load(self.x.as_ptr().add(position * self.row));
                sum = sum.add_product(x, V::splat(weight));
            }
            span.store(self.y.at(0), sum);
        }
    }
}

/// Each row of sums at a tap's position += weight times dy.
#[derive(Clone, Copy)]
struct Scatter<'a, E> {
    sums: Output<f32>,
    dy: &'a [E],
    row: usize,
    taps: &'a [Tap],
}

impl<E: Element> Tiled for Scatter<'_, E> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the taps' rows lie in the sums.
        unsafe {
            let dy: V = span.load(self.dy.as_ptr());
            for &(weight, position) in self.taps {
                let at = self.sums.at(position * self.row);
                let sum: V = span.load(at);
                span.store(at, sum.add_product(dy, V::splat(weight)));
            }
        }
    }
}
