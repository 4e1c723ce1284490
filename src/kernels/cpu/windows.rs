//! Windows of images as operands of products. The images are copied once, with zeros for the padding around them, so
//! that every window is complete. Outputs read the lines of a window in place. Weight gradients copy the windows, in
//! pieces of constant size, which the compiler turns into register moves.

use std::ops::Range;

use super::partition::PIECE as ELEMENTS;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::with_scratch;
use super::product::Rows;
use super::product::SLACK;
use super::product::elements_mut;
use super::vector::Element;
use crate::kernels::shapes::ConvShape;

/// Elements that are copied at a time. Copying a line of a window overruns its end by fewer elements than this.
const PIECE: usize = SLACK;

/// The windows of the images x (N, H, W, I) of a convolution.
pub struct Windows<'a, E> {
    shape: &'a ConvShape,
    /// The images, each (H + 2 P, W + 2 P, I) and at least one piece that is read beyond the last line.
    padded: &'a [E],
    /// Elements per line of an image, a whole number of units.
    line: usize,
    /// Elements per image.
    image: usize,
}

impl<E: Element> Windows<'_, E> {
    /// Calls `body` with the windows of x.
    pub fn with<T>(x: &[E], shape: &ConvShape, body: impl FnOnce(&Windows<E>) -> T) -> T {
        let &ConvShape { batch, height, width, in_channels, padding, .. } = shape;
        let line = ((width + 2 * padding) * in_channels).next_multiple_of(E::TERMS);
        // An odd number of cache lines, or of pairs of cache lines, so that the images do not share sets of the
        // first-level cache.
        let image = (((height + 2 * padding) * line + PIECE).div_ceil(32) | 1) * 32;
        with_scratch((batch * image).div_ceil(E::TERMS), |scratch| {
            let padded = &mut elements_mut(scratch)[..batch * image];
            let shared = Shared::new(padded);
            let tasks = (batch * image / ELEMENTS).clamp(1, batch.max(1));
            for_each(tasks, |task| {
                for n in part(batch, tasks, task) {
                    // SAFETY: tasks differ in their images.
                    let padded = unsafe { shared.slice(n * image, image) };
                    padded.fill(E::default());
                    let lines = x[n * height * width * in_channels..].chunks_exact(width * in_channels);
                    for (y, from) in lines.take(height).enumerate() {
                        let start = (padding + y) * line + padding * in_channels;
                        padded[start..][..from.len()].copy_from_slice(from);
                    }
                }
            });
            body(&Windows { shape, padded, line, image })
        })
    }

    /// The offsets in an image of the lines of the window at an output position.
    pub fn lines(&self, position: usize) -> impl Iterator<Item = usize> {
        let &ConvShape { in_channels, kernel, stride, .. } = self.shape;
        let (oy, ox) = (position / self.shape.out_width(), position % self.shape.out_width());
        let start = oy * stride * self.line + ox * stride * in_channels;
        (0..kernel).map(move |ky| start + ky * self.line)
    }

    /// The rows that `lines` refers to.
    pub fn rows(&self) -> Rows<'_, E> {
        Rows::Lines { values: self.padded, image: self.image }
    }

    /// Copies the windows of `images` at an output position, (K, K, I) each, to `rows` that are `pitch` apart. Up to
    /// `SLACK` elements after each row are overwritten.
    pub fn copy(&self, position: usize, images: Range<usize>, rows: &mut [E], pitch: usize) {
        let start = self.lines(position).next().unwrap_or(0);
        // Constant sizes make the compiler unroll the loops.
        match (self.shape.kernel, self.shape.in_channels) {
            (3, 3) => self.copy_lines(start, images, rows, pitch, 3, 9),
            (7, 3) => self.copy_lines(start, images, rows, pitch, 7, 21),
            (kernel, channels) => self.copy_lines(start, images, rows, pitch, kernel, kernel * channels),
        }
    }

    /// Copies `kernel` lines of `length` elements for each image.
    #[inline(always)]
    fn copy_lines(
        &self,
        start: usize,
        images: Range<usize>,
        rows: &mut [E],
        pitch: usize,
        kernel: usize,
        length: usize,
    ) {
        let whole = length.next_multiple_of(PIECE);
        for (n, row) in images.zip(rows.chunks_exact_mut(pitch)) {
            let window = &self.padded[n * self.image + start..][..(kernel - 1) * self.line + whole];
            let row = &mut row[..(kernel - 1) * length + whole];
            for ky in 0..kernel {
                copy_pieces(&mut row[ky * length..][..whole], &window[ky * self.line..][..whole]);
            }
        }
    }
}

/// Copies whole pieces.
#[inline(always)]
fn copy_pieces<E: Element>(to: &mut [E], from: &[E]) {
    for (to, from) in to.as_chunks_mut::<PIECE>().0.iter_mut().zip(from.as_chunks::<PIECE>().0) {
        *to = *from;
    }
}
