//! Windows of images as rows of a product. The images are copied once with zeros for the padding around them, so that
//! every window is whole, and lines of windows are copied in pieces of constant size, which the compiler makes moves of
//! registers.

use std::ops::Range;

use super::conv2d::Conv2d;
use super::partition::PIECE as ELEMENTS;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::with_scratch;
use super::product::SLACK;
use super::product::elements_mut;
use super::vector::Element;

/// Elements that are copied at a time; a line of a window is written beyond its end by fewer.
const PIECE: usize = SLACK;

/// The windows of the images x (N, H, W, I) of a convolution.
pub struct Windows<'a, E> {
    shape: &'a Conv2d,
    /// The images, each (H + 2 P, W + 2 P, I) and a piece that is read beyond the last line.
    padded: &'a [E],
    /// Elements of one line of them.
    line: usize,
    /// Elements of one of them.
    image: usize,
}

impl<E: Element> Windows<'_, E> {
    /// Lends the windows of x to `body`.
    pub fn with<T>(x: &[E], shape: &Conv2d, body: impl FnOnce(&Windows<E>) -> T) -> T {
        let &Conv2d { batch, height, width, in_channels, padding, .. } = shape;
        let line = (width + 2 * padding) * in_channels;
        let image = (height + 2 * padding) * line + PIECE;
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

    /// Copies the windows of `images` at an output position, (K, K, I) each, to `rows` that lie `pitch` apart; up to
    /// `SLACK` elements behind each are overwritten.
    pub fn copy(&self, position: usize, images: Range<usize>, rows: &mut [E], pitch: usize) {
        let &Conv2d { in_channels, kernel, stride, .. } = self.shape;
        let (oy, ox) = (position / self.shape.out_width(), position % self.shape.out_width());
        let start = oy * stride * self.line + ox * stride * in_channels;
        let length = kernel * in_channels;
        for (n, row) in images.zip(rows.chunks_mut(pitch)) {
            let image = &self.padded[n * self.image..][..self.image];
            for ky in 0..kernel {
                copy_line(&mut row[ky * length..], &image[start + ky * self.line..], length);
            }
        }
    }
}

/// Copies `length` elements, and what follows them up to a whole piece.
#[inline(always)]
fn copy_line<E: Element>(to: &mut [E], from: &[E], length: usize) {
    let pieces = length.div_ceil(PIECE);
    let (to, from) = (&mut to[..pieces * PIECE], &from[..pieces * PIECE]);
    for (to, from) in to.as_chunks_mut::<PIECE>().0.iter_mut().zip(from.as_chunks::<PIECE>().0) {
        *to = *from;
    }
}
