//! Pooling over channels-last images: x (N, H, W, C). All results are written (=).

use rayon::prelude::*;

use super::check_len;
use super::isa::with_wide_vectors;

/// The sizes of a max pooling, with the output's derived from them.
struct Window {
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    out_height: usize,
    out_width: usize,
}

impl Window {
    fn new(height: usize, width: usize, channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        assert!(
            (1..=16).contains(&kernel)
                && stride > 0
                && 2 * padding <= kernel
                && height.min(width) + 2 * padding >= kernel
                && channels > 0,
            "max pool: kernel {kernel}, stride {stride}, padding {padding} do not fit ({height}, {width}, {channels})"
        );
        let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        let (out_height, out_width) = (out(height), out(width));
        Self { height, width, channels, kernel, stride, padding, out_height, out_width }
    }

    fn check(&self, operation: &str, x: &[f32], y: &[f32], argmax: &[u8], batch: usize) {
        let Self { height, width, channels, kernel, stride, padding, .. } = self;
        let describe = || {
            format!(
                "{operation} (batch {batch}, height {height}, width {width}, channels {channels}, kernel {kernel}, \
                 stride {stride}, padding {padding})"
            )
        };
        check_len(&describe(), "x", x, batch * self.image_len());
        check_len(&describe(), "y", y, batch * self.out_height * self.row_len());
        check_len(&describe(), "argmax", argmax, batch * self.out_height * self.row_len());
    }

    fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Elements of one row of output pixels.
    fn row_len(&self) -> usize {
        self.out_width * self.channels
    }

    /// Where tap `tap` of the window at (oy, ox) lies in its image; none in the padding.
    fn tap(&self, oy: usize, ox: usize, tap: usize) -> Option<usize> {
        let y = (oy * self.stride + tap / self.kernel).checked_sub(self.padding)?;
        let x = (ox * self.stride + tap % self.kernel).checked_sub(self.padding)?;
        (y < self.height && x < self.width).then(|| (y * self.width + x) * self.channels)
    }
}

/// y = the maximum of each window, and argmax = its index ky K + kx within the window: the first maximum, as in PyTorch.
/// NaN counts as larger than any number. Padding never wins. The kernel is at most 16.
#[allow(clippy::too_many_arguments)]
pub fn max_forward(
    y: &mut [f32],
    argmax: &mut [u8],
    x: &[f32],
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) {
    let window = Window::new(height, width, channels, kernel, stride, padding);
    window.check("pool::max_forward", x, y, argmax, batch);
    let rows = y.par_chunks_mut(window.row_len()).zip(argmax.par_chunks_mut(window.row_len()));
    rows.enumerate().for_each(|(row, (y, argmax))| {
        let image = &x[row / window.out_height * window.image_len()..][..window.image_len()];
        with_wide_vectors(|| {
            let pixels = y.chunks_exact_mut(channels).zip(argmax.chunks_exact_mut(channels));
            for (ox, (y, argmax)) in pixels.enumerate() {
                max_pixel(y, argmax, image, &window, (row % window.out_height, ox));
            }
        });
    });
}

/// dx = dy of the windows that each element of x won, summed in the order of the windows.
#[allow(clippy::too_many_arguments)]
pub fn max_backward(
    dx: &mut [f32],
    dy: &[f32],
    argmax: &[u8],
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) {
    let window = Window::new(height, width, channels, kernel, stride, padding);
    window.check("pool::max_backward", dx, dy, argmax, batch);
    let out_len = window.out_height * window.row_len();
    let images = dx.par_chunks_mut(window.image_len()).zip(dy.par_chunks(out_len).zip(argmax.par_chunks(out_len)));
    images.for_each(|(dx, (dy, argmax))| {
        dx.fill(0.0);
        let pixels = dy.chunks_exact(channels).zip(argmax.chunks_exact(channels));
        for (pixel, (dy, argmax)) in pixels.enumerate() {
            let (oy, ox) = (pixel / window.out_width, pixel % window.out_width);
            for (c, (&dy, &tap)) in dy.iter().zip(argmax).enumerate() {
                let at = window.tap(oy, ox, usize::from(tap)).expect("max_backward: argmax points into the padding");
                dx[at + c] += dy;
            }
        }
    });
}

/// y (N, C) = the mean of x (N, pixels, C) over pixels.
pub fn average_forward(y: &mut [f32], x: &[f32], batch: usize, pixels: usize, channels: usize) {
    check_average("pool::average_forward", x, y, (batch, pixels, channels));
    let scale = 1.0 / pixels as f32;
    y.par_chunks_mut(channels).zip(x.par_chunks(pixels * channels)).for_each(|(y, x)| {
        y.fill(0.0);
        for pixel in x.chunks_exact(channels) {
            y.iter_mut().zip(pixel).for_each(|(y, &x)| *y += x);
        }
        y.iter_mut().for_each(|y| *y *= scale);
    });
}

/// dx (N, pixels, C) = dy (N, C) / pixels.
pub fn average_backward(dx: &mut [f32], dy: &[f32], batch: usize, pixels: usize, channels: usize) {
    check_average("pool::average_backward", dx, dy, (batch, pixels, channels));
    let scale = 1.0 / pixels as f32;
    dx.par_chunks_mut(pixels * channels).zip(dy.par_chunks(channels)).for_each(|(dx, dy)| {
        for pixel in dx.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy * scale);
        }
    });
}

/// One output pixel: channels in groups that stay in registers while the window passes.
#[inline(always)]
fn max_pixel(y: &mut [f32], argmax: &mut [u8], image: &[f32], window: &Window, place: (usize, usize)) {
    const GROUP: usize = 16;
    let grouped = window.channels / GROUP * GROUP;
    for c in (0..grouped).step_by(GROUP) {
        max_channels::<GROUP>(&mut y[c..c + GROUP], &mut argmax[c..c + GROUP], &image[c..], window, place);
    }
    for c in grouped..window.channels {
        max_channels::<1>(&mut y[c..=c], &mut argmax[c..=c], &image[c..], window, place);
    }
}

#[inline(always)]
fn max_channels<const L: usize>(
    y: &mut [f32],
    argmax: &mut [u8],
    image: &[f32],
    window: &Window,
    (oy, ox): (usize, usize),
) {
    let mut best = [f32::NEG_INFINITY; L];
    let mut winner = [u32::MAX; L];
    for tap in 0..window.kernel * window.kernel {
        let Some(at) = window.tap(oy, ox, tap) else { continue };
        let x: &[f32; L] = image[at..at + L].try_into().expect("L elements");
        for lane in 0..L {
            // The first tap wins whatever it holds; winner is MAX only before it.
            let wins = (x[lane] > best[lane]) | x[lane].is_nan() | (winner[lane] == u32::MAX);
            best[lane] = if wins { x[lane] } else { best[lane] };
            winner[lane] = if wins { tap as u32 } else { winner[lane] };
        }
    }
    y.copy_from_slice(&best);
    argmax.iter_mut().zip(winner).for_each(|(argmax, winner)| *argmax = winner as u8);
}

fn check_average(operation: &str, x: &[f32], y: &[f32], (batch, pixels, channels): (usize, usize, usize)) {
    let describe = || format!("{operation} (batch {batch}, pixels {pixels}, channels {channels})");
    assert!(pixels > 0 && channels > 0, "{}: empty images", describe());
    check_len(&describe(), "x", x, batch * pixels * channels);
    check_len(&describe(), "y", y, batch * channels);
}
