//! Tokens of images, stored as (T, N, C) like maps: position by position with the batch inside.

use std::ops::Range;

use super::check_len;
use super::elementwise::add_column_sums;
use super::rows::Output;
use super::rows::Span;
use super::rows::Tiled;
use super::rows::sweep_all;
use super::vector::Element;
use super::vector::Vector;

/// Writes y (T, N, C): first the class token of every image, then its `patches` (T - 1, N, C) plus `bias`. The vector
/// of its position, from `positions` (T, C), is added to each token.
pub fn embed<E: Element>(y: &mut [E], patches: &[E], class: &[f32], bias: &[f32], positions: &[f32], images: usize) {
    let (channels, tokens) = (class.len(), positions.len() / class.len());
    let describe = || format!("tokens::embed (tokens {tokens}, images {images}, channels {channels})");
    assert!(tokens > 0, "{}: no token", describe());
    check_len(&describe(), "y", y, tokens * images * channels);
    check_len(&describe(), "patches", patches, (tokens - 1) * images * channels);
    check_len(&describe(), "bias", bias, channels);
    check_len(&describe(), "positions", positions, tokens * channels);
    let mut added = positions.to_vec();
    for (token, added) in added.chunks_exact_mut(channels).enumerate() {
        added.iter_mut().zip(if token == 0 { class } else { bias }).for_each(|(added, value)| *added += value);
    }
    let work = Embed { y: Output::new(y), patches, added: &added, images, channels };
    // SAFETY: y is (T N, C), and the patches are all of its rows but the first N.
    unsafe { sweep_all(work, tokens * images, channels) };
}

/// sums (T, C) += the sum of dy (T, N, C) over the images.
pub fn add_token_sums<E: Element>(sums: &mut [f32], dy: &[E], images: usize, channels: usize) {
    check_len("tokens::add_token_sums", "sums", sums, dy.len() / images);
    for (sums, dy) in sums.chunks_exact_mut(channels).zip(dy.chunks_exact(images * channels)) {
        add_column_sums(sums, dy, images, channels);
    }
}

/// y (T, N, C) = each image of x multiplied by its scale (N), added to `onto` if it is given.
pub fn scale_images<E: Element>(y: &mut [E], x: &[E], scales: &[f32], onto: Option<&[E]>, channels: usize) {
    let (images, rows) = (scales.len(), x.len() / channels);
    let describe = || format!("tokens::scale_images (rows {rows}, images {images}, channels {channels})");
    assert!(rows.is_multiple_of(images), "{}: `rows` is not a multiple of `images`", describe());
    check_len(&describe(), "x", x, rows * channels);
    check_len(&describe(), "y", y, rows * channels);
    let y = Output::new(y);
    // SAFETY: all matrices are (T N, C), and y is borrowed.
    unsafe {
        match onto {
            None => sweep_all(Scale::<E, false> { y, x, onto: x, scales, channels }, rows, channels),
            Some(onto) => {
                check_len(&describe(), "onto", onto, rows * channels);
                sweep_all(Scale::<E, true> { y, x, onto, scales, channels }, rows, channels);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Embed<'a, E> {
    y: Output<E>,
    patches: &'a [E],
    /// The vector that is added to each token, (T, C).
    added: &'a [f32],
    images: usize,
    channels: usize,
}

impl<E: Element> Tiled for Embed<'_, E> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        for row in rows {
            // SAFETY: the span lies in the row, and the rows before `images` read no patch.
            unsafe {
                let mut sum: V = span.load(self.added.as_ptr().add(row / self.images * self.channels));
                if row >= self.images {
                    sum = sum.add(span.load(self.patches.as_ptr().add((row - self.images) * self.channels)));
                }
                span.store(self.y.at(row * self.channels), sum);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Scale<'a, E, const ONTO: bool> {
    y: Output<E>,
    x: &'a [E],
    onto: &'a [E],
    scales: &'a [f32],
    channels: usize,
}

impl<E: Element, const ONTO: bool> Tiled for Scale<'_, E, ONTO> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        for row in rows {
            let at = row * self.channels;
            // SAFETY: the span lies in the row, and there is a scale for each image.
            unsafe {
                let scale = V::splat(*self.scales.as_ptr().add(row % self.scales.len()));
                let scaled = span.load::<E, V>(self.x.as_ptr().add(at)).mul(scale);
                let sum = if ONTO { scaled.add(span.load(self.onto.as_ptr().add(at))) } else { scaled };
                span.store(self.y.at(at), sum);
            }
        }
    }
}
