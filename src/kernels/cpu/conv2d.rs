//! Two-dimensional convolution without bias: x (N, H, W, I), w (O, K, K, I), y (N, OH, OW, O).
//! Contract: y and dx are written (=), dw is added to (+=).

use std::ops::Range;

use super::check_len;
use super::isa;
use super::product;
use super::product::Accumulated;
use super::product::Gathered;
use super::product::Span;
use super::tile::Pair;
use super::tile::Segment;

/// The sizes of a convolution. Kernel, stride and padding are the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Conv2d {
    /// OH = (H + 2 P - K) / S + 1, rounded down.
    pub fn out_height(&self) -> usize {
        self.out_size(self.height)
    }

    /// OW = (W + 2 P - K) / S + 1, rounded down.
    pub fn out_width(&self) -> usize {
        self.out_size(self.width)
    }

    /// Elements of x.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Elements of y.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Elements of w.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.kernel * self.kernel * self.in_channels
    }

    fn out_size(&self, size: usize) -> usize {
        let padded = size + 2 * self.padding;
        assert!(
            self.stride > 0 && self.kernel > 0 && padded >= self.kernel,
            "conv2d: the kernel does not fit: {self:?}"
        );
        (padded - self.kernel) / self.stride + 1
    }

    /// The same convolution with fewer positions: where windows are single pixels, every pixel is an image of its own,
    /// so that a tile's rows are neighbours in memory.
    fn flattened(&self) -> Self {
        match (self.kernel, self.stride, self.padding) {
            (1, 1, 0) => Self { batch: self.batch * self.height * self.width, height: 1, width: 1, ..*self },
            _ => *self,
        }
    }

    /// The taps of the window at `output` that lie inside an image of `size` pixels; empty where none does.
    fn taps(&self, output: usize, size: usize) -> Range<usize> {
        let start = output * self.stride;
        let first = self.padding.saturating_sub(start);
        first..(size + self.padding).saturating_sub(start).min(self.kernel).max(first)
    }

    /// The outputs below `count` whose windows contain `input`; empty where there is none.
    fn outputs(&self, input: usize, count: usize) -> Range<usize> {
        let place = input + self.padding;
        let first = (place + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        first..(place / self.stride + 1).min(count).max(first)
    }

    /// Checks the three slices that every direction of the convolution takes.
    fn check(&self, operation: &str, input: &[f32], output: &[f32], weight: &[f32]) {
        let describe = || format!("{operation} of {self:?}");
        check_len(&describe(), "x", input, self.input_len());
        check_len(&describe(), "y", output, self.output_len());
        check_len(&describe(), "w", weight, self.weight_len());
    }
}

/// y = x * w.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], shape: &Conv2d) {
    shape.check("conv2d::forward", x, y, w);
    let shape = &shape.flattened();
    let &Conv2d { height, width, in_channels, out_channels, kernel, stride, padding, .. } = shape;
    let out_width = shape.out_width();
    let depth = kernel * kernel * in_channels;
    let sizes = Gathered {
        images: shape.batch,
        positions: shape.out_height() * out_width,
        columns: out_channels,
        image_len: height * width * in_channels,
        depth,
    };
    let pack = |columns: Range<usize>, row_len: usize, packed: &mut [f32]| {
        product::pack_columns(packed, row_len, &w[columns.start * depth..columns.end * depth], depth);
    };
    let segments = |position: usize, list: &mut Vec<Segment>| {
        let (oy, ox) = (position / out_width, position % out_width);
        let kx = shape.taps(ox, width);
        list.extend(shape.taps(oy, height).filter(|_| !kx.is_empty()).map(|ky| Segment {
            a: ((oy * stride + ky - padding) * width + ox * stride + kx.start - padding) * in_channels,
            b: (ky * kernel + kx.start) * in_channels,
            len: kx.len() * in_channels,
        }));
    };
    product::gather(isa(), y, x, &sizes, pack, segments);
}

/// dx = the gradient of x.
pub fn input_gradient(dx: &mut [f32], dy: &[f32], w: &[f32], shape: &Conv2d) {
    shape.check("conv2d::input_gradient", dx, dy, w);
    let shape = &shape.flattened();
    let &Conv2d { height, width, in_channels, out_channels, kernel, stride, padding, .. } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    // The outputs that an input pixel takes part in are neighbours; their taps step by -stride. Packed in that order,
    // the taps of one row of the kernel are one segment.
    let order: Vec<usize> = (0..stride).flat_map(|first| (first..kernel).step_by(stride).rev()).collect();
    let sizes = Gathered {
        images: shape.batch,
        positions: height * width,
        columns: in_channels,
        image_len: out_height * out_width * out_channels,
        depth: kernel * kernel * out_channels,
    };
    let pack = |columns: Range<usize>, row_len: usize, packed: &mut [f32]| {
        product::pack_rows(packed, row_len, |row| {
            let (tap, o) = (row / out_channels, row % out_channels);
            let (ky, kx) = (tap / kernel, order[tap % kernel]);
            &w[((o * kernel + ky) * kernel + kx) * in_channels..][columns.clone()]
        });
    };
    let segments = |position: usize, list: &mut Vec<Segment>| {
        let (iy, ix) = (position / width, position % width);
        let ox = shape.outputs(ix, out_width);
        if ox.is_empty() {
            return;
        }
        let kx = ix + padding - ox.start * stride;
        let place = order.iter().position(|&k| k == kx).expect("every tap is in the order");
        list.extend(shape.outputs(iy, out_height).map(|oy| Segment {
            a: (oy * out_width + ox.start) * out_channels,
            b: ((iy + padding - oy * stride) * kernel + place) * out_channels,
            len: ox.len() * out_channels,
        }));
    };
    product::gather(isa(), dx, dy, &sizes, pack, segments);
}

/// dw += the gradient of w.
pub fn weight_gradient(dw: &mut [f32], x: &[f32], dy: &[f32], shape: &Conv2d) {
    shape.check("conv2d::weight_gradient", x, dy, dw);
    let &Conv2d { batch, height, width, in_channels, out_channels, kernel, stride, padding } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let sizes = Accumulated {
        rows: out_channels,
        taps: kernel,
        columns: kernel * in_channels,
        lines: batch * out_height,
        line_len: out_width,
    };
    // Outputs of a row whose windows overhang the image alike: a range of columns and the taps that lie in the image.
    let mut edges: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for ox in 0..out_width {
        let taps = shape.taps(ox, width);
        match edges.last_mut() {
            Some((outputs, same)) if *same == taps => outputs.end = ox + 1,
            _ => edges.push((ox..ox + 1, taps)),
        }
    }
    edges.retain(|(_, taps)| !taps.is_empty());
    let spans = |ky: usize, lines: Range<usize>, list: &mut Vec<Span>| {
        list.resize_with(edges.len(), || Span { columns: 0..0, pairs: Vec::new() });
        for (span, (outputs, kx)) in list.iter_mut().zip(&edges) {
            span.columns = kx.start * in_channels..kx.end * in_channels;
            span.pairs.clear();
            for line in lines.clone() {
                let (n, oy) = (line / out_height, line % out_height);
                if !shape.taps(oy, height).contains(&ky) {
                    continue;
                }
                let row = (n * height + oy * stride + ky - padding) * width;
                span.pairs.extend(outputs.clone().map(|ox| Pair {
                    a: (line * out_width + ox) * out_channels,
                    b: (row + ox * stride + kx.start - padding) * in_channels,
                }));
            }
        }
    };
    product::accumulate(isa(), dw, dy, x, &sizes, spans);
}
