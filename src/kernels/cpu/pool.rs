//! Pooling over maps: x (H, W, N, C); plain loops that stand in for the fast kernels. All results are written (=).

use super::check_len;
use super::vector::Element;

/// y = the maximum of each window, and argmax = its index ky K + kx within the window.
#[allow(clippy::too_many_arguments)]
pub fn max_forward<E: Element>(
    y: &mut [E],
    argmax: &mut [u8],
    x: &[E],
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) {
    let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    let (row, line) = (batch * channels, out(width));
    check_len("pool::max_forward", "y", y, out(height) * line * row);
    for at in 0..y.len() {
        let (oy, ox, lane) = (at / row / line, at / row % line, at % row);
        let mut best: Option<(f32, usize)> = None;
        for tap in 0..kernel * kernel {
            let (iy, ix) = (oy * stride + tap / kernel, ox * stride + tap % kernel);
            if iy < padding || ix < padding || iy >= height + padding || ix >= width + padding {
                continue;
            }
            let value = x[((iy - padding) * width + ix - padding) * row + lane].to_f32();
            if best.is_none_or(|(best, _)| value > best || value.is_nan()) {
                best = Some((value, tap));
            }
        }
        let (value, tap) = best.expect("a window holds a pixel");
        (y[at], argmax[at]) = (E::from_f32(value), tap as u8);
    }
}

/// dx = dy of the windows that each element of x won.
#[allow(clippy::too_many_arguments)]
pub fn max_backward<E: Element>(
    dx: &mut [E],
    dy: &[E],
    argmax: &[u8],
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) {
    let (row, line) = (batch * channels, (width + 2 * padding - kernel) / stride + 1);
    check_len("pool::max_backward", "dx", dx, height * width * row);
    let mut sums = vec![0.0f32; dx.len()];
    for (at, dy) in dy.iter().enumerate() {
        let (oy, ox, lane) = (at / row / line, at / row % line, at % row);
        let tap = usize::from(argmax[at]);
        let (iy, ix) = (oy * stride + tap / kernel - padding, ox * stride + tap % kernel - padding);
        sums[(iy * width + ix) * row + lane] += dy.to_f32();
    }
    dx.iter_mut().zip(sums).for_each(|(dx, sum)| *dx = E::from_f32(sum));
}

/// y (N, C) = the mean of x (pixels, N, C) over pixels.
pub fn average_forward<E: Element>(y: &mut [E], x: &[E], batch: usize, pixels: usize, channels: usize) {
    check_len("pool::average_forward", "x", x, batch * pixels * channels);
    for (at, y) in y.iter_mut().enumerate() {
        let sum: f32 = x[at..].iter().step_by(batch * channels).map(|x| x.to_f32()).sum();
        *y = E::from_f32(sum / pixels as f32);
    }
}

/// dx (pixels, N, C) = dy (N, C) / pixels.
pub fn average_backward<E: Element>(dx: &mut [E], dy: &[E], batch: usize, pixels: usize, channels: usize) {
    check_len("pool::average_backward", "dx", dx, batch * pixels * channels);
    for (dx, dy) in dx.iter_mut().zip(dy.iter().cycle()) {
        *dx = E::from_f32(dy.to_f32() / pixels as f32);
    }
}
