//! Colour operations on planes (3, size, size) with values in \[0, 1\], after `torchvision.transforms.v2.functional`.
//!
//! Comparisons are written as `if` instead of `f32::max`, because its handling of NaN costs instructions. The loops must
//! become vector instructions. So they call no function that the compiler may leave out of line, such as those of arrays.

use super::config::Normalization;

/// x -> f x, clamped.
pub fn brightness(planes: &mut [f32], factor: f32) {
    planes.iter_mut().for_each(|x| *x = (*x * factor).clamp(0.0, 1.0));
}

/// x -> f x + (1 - f) m, clamped; m is the mean of the gray image.
pub fn contrast(planes: &mut [f32], factor: f32) {
    let offset = (1.0 - factor) * mean_gray(planes);
    planes.iter_mut().for_each(|x| *x = (*x * factor + offset).clamp(0.0, 1.0));
}

/// x -> f x + (1 - f) y, clamped; y is the pixel's gray value.
pub fn saturation(planes: &mut [f32], factor: f32) {
    each_pixel(planes, |[r, g, b]| {
        let offset = (1.0 - factor) * gray(r, g, b);
        let mixed = |x: f32| (x * factor + offset).clamp(0.0, 1.0);
        [mixed(r), mixed(g), mixed(b)]
    });
}

/// Shifts the hue by `shift` turns of the colour circle, |shift| <= 0.5. Value and saturation do not change.
///
/// Let V be the largest channel of a pixel, C the range of its channels, and H its shifted hue in sixths of a turn.
/// Then red is V - C (1 - s), where s = |H - 3| - 1, clamped to \[0, 1\]. For green, s = 2 - |H - 2|, and for blue,
/// s = 2 - |H - 4| (<https://en.wikipedia.org/wiki/HSL_and_HSV>). This needs no table of sectors and only one division.
pub fn hue(planes: &mut [f32], shift: f32) {
    each_pixel(planes, |[r, g, b]| {
        let value = greater(r, greater(g, b));
        let range = value - lesser(r, lesser(g, b));
        let sixth = if range == 0.0 { 0.0 } else { 1.0 / range };
        let sixths = if value == r {
            (g - b) * sixth
        } else if value == g {
            (b - r) * sixth + 2.0
        } else {
            (r - g) * sixth + 4.0
        };
        let turned = wrap(sixths + 6.0 * shift); // [-1, 5] + [-3, 3] -> [0, 6]
        let channel = |share: f32| value - range * (1.0 - share.clamp(0.0, 1.0));
        let (red, green) = ((turned - 3.0).abs() - 1.0, 2.0 - (turned - 2.0).abs());
        [channel(red), channel(green), channel(2.0 - (turned - 4.0).abs())]
    });
}

/// Sets every channel to the gray value.
pub fn grayscale(planes: &mut [f32]) {
    each_pixel(planes, |[r, g, b]| [gray(r, g, b); 3]);
}

/// Inverts bright values: x -> 1 - x where x >= threshold.
pub fn solarize(planes: &mut [f32], threshold: f32) {
    planes.iter_mut().for_each(|x| *x = if *x >= threshold { 1.0 - *x } else { *x });
}

/// Writes planes (3, size, size) as (size, size, 3), normalised.
///
/// # Panics
/// When the lengths differ.
pub fn normalize(planes: &[f32], normalization: &Normalization, out: &mut [f32]) {
    assert_eq!(planes.len(), out.len(), "planes and normalised image");
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at(area);
    let (green, blue) = rest.split_at(area);
    let mean = normalization.mean;
    let scale = normalization.std.map(|std| 1.0 / std);
    for (((out, r), g), b) in out.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
        out[0] = (r - mean[0]) * scale[0];
        out[1] = (g - mean[1]) * scale[1];
        out[2] = (b - mean[2]) * scale[2];
    }
}

/// The luma of ITU-R BT.601, with torchvision's coefficients.
#[inline(always)]
fn gray(r: f32, g: f32, b: f32) -> f32 {
    0.2989 * r + 0.587 * g + 0.114 * b
}

/// The mean gray value, from sixteen partial sums. These vectorise, and their order is the same on every machine.
fn mean_gray(planes: &[f32]) -> f32 {
    const LANES: usize = 16;
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at(area);
    let (green, blue) = rest.split_at(area);
    let ((r, r_rest), (g, g_rest), (b, b_rest)) =
        (red.as_chunks::<LANES>(), green.as_chunks::<LANES>(), blue.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for chunk in 0..r.len() {
        for lane in 0..LANES {
            sums[lane] += gray(r[chunk][lane], g[chunk][lane], b[chunk][lane]);
        }
    }
    for lane in 0..r_rest.len() {
        sums[lane] += gray(r_rest[lane], g_rest[lane], b_rest[lane]);
    }
    sums.iter().sum::<f32>() / area as f32
}

#[inline(always)]
fn each_pixel(planes: &mut [f32], map: impl Fn([f32; 3]) -> [f32; 3]) {
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = map([*r, *g, *b]);
    }
}

/// x modulo 6 for x in \[-6, 12\].
#[inline(always)]
fn wrap(x: f32) -> f32 {
    let x = if x < 0.0 { x + 6.0 } else { x };
    if x >= 6.0 { x - 6.0 } else { x }
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}
