//! Pooling over maps: x (H, W, N, C), position by position, so that the elements of a window are whole rows of
//! N C numbers. All results are written (=).

use std::ops::Range;

use crate::kernels::shapes::PoolShape;

use super::check_len;
use super::isa::isa;
use super::partition::for_each;
use super::partition::with_scratch;
use super::rows::Output;
use super::rows::Rows;
use super::rows::Span;
use super::rows::Tiled;
use super::rows::block_sums;
use super::rows::sweep;
use super::rows::sweep_all;
use super::vector::Element;
use super::vector::Vector;

/// Elements of a row that are pooled together. The rows of a window's lines then stay in the second-level cache for
/// the next window.
const CHUNK: usize = 1024;

/// A tap of a window: its index within the window, as a lane value, and the index of the row that it refers to.
type Tap = (f32, usize);

impl PoolShape {
    fn check<E>(&self, operation: &str, x: &[E], y: &[E], argmax: &[u8]) {
        let describe = || format!("{operation} of {self:?}");
        check_len(&describe(), "x", x, self.input_len());
        check_len(&describe(), "y", y, self.output_len());
        check_len(&describe(), "argmax", argmax, self.output_len());
    }

    /// Lists the taps of the window at output position (oy, ox) that lie inside the image, each with its input
    /// position.
    fn inputs(&self, taps: &mut Vec<Tap>, oy: usize, ox: usize) {
        let inside = |at: usize, size: usize| at.checked_sub(self.padding).filter(|&at| at < size);
        taps.clear();
        for (ky, kx) in (0..self.kernel).flat_map(|ky| (0..self.kernel).map(move |kx| (ky, kx))) {
            let (y, x) = (inside(oy * self.stride + ky, self.height), inside(ox * self.stride + kx, self.width));
            if let (Some(y), Some(x)) = (y, x) {
                taps.push(((ky * self.kernel + kx) as f32, y * self.width + x));
            }
        }
    }

    /// Lists the windows that contain the input position (y, x), in order: the tap and the output position of each.
    fn outputs(&self, taps: &mut Vec<Tap>, y: usize, x: usize) {
        let windows = |at: usize, count: usize| {
            let at = at + self.padding;
            let first = (at + 1).saturating_sub(self.kernel).div_ceil(self.stride);
            (first..count.min(at / self.stride + 1)).map(move |o| (o, at - o * self.stride))
        };
        taps.clear();
        let (rows, columns) = (self.out_height(), self.out_width());
        for (oy, ky) in windows(y, rows) {
            for (ox, kx) in windows(x, columns) {
                taps.push(((ky * self.kernel + kx) as f32, oy * columns + ox));
            }
        }
    }

    /// Calls `body(line, columns)` for every line of positions and every chunk of their rows, in parallel.
    fn for_each_line(&self, lines: usize, body: impl Fn(usize, Range<usize>) + Sync + Send) {
        let row = self.row();
        let chunk = if lines * self.width * row <= 16 * CHUNK { row } else { CHUNK };
        for_each(lines * row.div_ceil(chunk.max(1)), |index| {
            let (chunk_at, line) = (index / lines * chunk, index % lines);
            body(line, chunk_at..row.min(chunk_at + chunk));
        });
    }
}

/// y = the maximum of each window, and argmax = its index ky K + kx within the window: the first maximum, as in
/// PyTorch. NaN counts as larger than any number. Padding is never chosen.
pub fn max_forward<E: Element>(y: &mut [E], argmax: &mut [u8], x: &[E], shape: &PoolShape) {
    shape.check("pool::max_forward", x, y, argmax);
    let (y, argmax, isa) = (Output::new(y), Output::new(argmax), isa());
    let (row, out_width) = (shape.row(), shape.out_width());
    shape.for_each_line(shape.out_height(), |oy, columns| {
        let mut taps = Vec::new();
        for ox in 0..out_width {
            shape.inputs(&mut taps, oy, ox);
            let work = Max { y, argmax, at: (oy * out_width + ox) * row, x, row, taps: &taps };
            // SAFETY: the taps lie in x, and only this task writes these columns of the output row.
            unsafe { sweep(isa, work, 0..1, columns.clone()) };
        }
    });
}

/// dx = for each element of x, the sum of dy over the windows whose maximum it is, in the order of the windows.
pub fn max_backward<E: Element>(dx: &mut [E], dy: &[E], argmax: &[u8], shape: &PoolShape) {
    shape.check("pool::max_backward", dx, dy, argmax);
    let (dx, isa) = (Output::new(dx), isa());
    let (row, width) = (shape.row(), shape.width);
    shape.for_each_line(shape.height, |iy, columns| {
        let mut taps = Vec::new();
        for ix in 0..width {
            shape.outputs(&mut taps, iy, ix);
            let work = MaxGradient { dx, at: (iy * width + ix) * row, dy, argmax, row, taps: &taps };
            // SAFETY: the taps lie in dy, and only this task writes these columns of the input row.
            unsafe { sweep(isa, work, 0..1, columns.clone()) };
        }
    });
}

/// y (N, C) = the mean of x (pixels, N, C) over pixels.
pub fn average_forward<E: Element>(y: &mut [E], x: &[E], batch: usize, pixels: usize, channels: usize) {
    check_average("pool::average_forward", x, y, (batch, pixels, channels));
    let (y, isa, row) = (Output::new(y), isa(), batch * channels);
    let (rows, scale) = (Rows { x, columns: row }, 1.0 / pixels as f32);
    for_each(row.div_ceil(CHUNK), |chunk| {
        let columns = chunk * CHUNK..row.min((chunk + 1) * CHUNK);
        with_scratch(columns.len(), |sums| {
            // SAFETY: x is (pixels, N C), and only this task writes these columns of y.
            unsafe {
                block_sums(isa, rows, sums, 0..pixels, columns.clone());
                let work = Scaled { y: y.from(columns.start), x: sums, scale };
                sweep(isa, work, 0..1, 0..columns.len());
            }
        });
    });
}

/// dx (pixels, N, C) = dy (N, C) / pixels.
pub fn average_backward<E: Element>(dx: &mut [E], dy: &[E], batch: usize, pixels: usize, channels: usize) {
    check_average("pool::average_backward", dx, dy, (batch, pixels, channels));
    let work = Scaled { y: Output::new(dx), x: dy, scale: 1.0 / pixels as f32 };
    // SAFETY: dx is (pixels, N C).
    unsafe { sweep_all(work, pixels, dy.len()) };
}

/// One output position: the first maximum over its taps.
#[derive(Clone, Copy)]
struct Max<'a, E> {
    y: Output<E>,
    argmax: Output<u8>,
    at: usize,
    x: &'a [E],
    row: usize,
    taps: &'a [Tap],
}

impl<E: Element> Tiled for Max<'_, E> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the taps' rows lie in x.
        unsafe {
            // The first tap is the initial maximum whatever its value, so that a window of -infinity also has a
            // maximum.
            let (tap, position) = self.taps[0];
            let mut winner = V::splat(tap);
            let mut best: V = span.load(self.x.as_ptr().add(position * self.row));
            for &(tap, position) in &self.taps[1..] {
                let x: V = span.load(self.x.as_ptr().add(position * self.row));
                winner = x.choose_if_larger(best, V::splat(tap), winner);
                best = x.choose_if_larger(best, x, best);
            }
            span.store(self.y.at(self.at), best);
            span.store_bytes(self.argmax.at(self.at), winner);
        }
    }
}

/// One input position: the sum of the gradients of the windows whose maximum it is.
#[derive(Clone, Copy)]
struct MaxGradient<'a, E> {
    dx: Output<E>,
    at: usize,
    dy: &'a [E],
    argmax: &'a [u8],
    row: usize,
    taps: &'a [Tap],
}

impl<E: Element> Tiled for MaxGradient<'_, E> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the taps' rows lie in dy and argmax.
        unsafe {
            let mut sum = V::splat(0.0);
            for &(tap, position) in self.taps {
                let dy: V = span.load(self.dy.as_ptr().add(position * self.row));
                let winner: V = span.load_bytes(self.argmax.as_ptr().add(position * self.row));
                sum = sum.add(dy.where_equal(winner, V::splat(tap)));
            }
            span.store(self.dx.at(self.at), sum);
        }
    }
}

/// Each row of y = x scale.
#[derive(Clone, Copy)]
struct Scaled<'a, A, E> {
    y: Output<E>,
    x: &'a [A],
    scale: f32,
}

impl<A: Element, E: Element> Tiled for Scaled<'_, A, E> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the span lies in the rows.
        unsafe {
            let x: V = span.load(self.x.as_ptr());
            span.store(self.y.at(rows.start * self.x.len()), x.mul(V::splat(self.scale)));
        }
    }
}

fn check_average<E>(operation: &str, x: &[E], y: &[E], (batch, pixels, channels): (usize, usize, usize)) {
    let describe = || format!("{operation} (batch {batch}, pixels {pixels}, channels {channels})");
    assert!(pixels > 0 && channels > 0, "{}: empty images", describe());
    check_len(&describe(), "x", x, batch * pixels * channels);
    check_len(&describe(), "y", y, batch * channels);
}
