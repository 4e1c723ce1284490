//! Resizing of RGB images with an antialiased bilinear filter, which widens when it shrinks, as Pillow's does.

use fast_image_resize as resize;
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U8x3;

/// The library that resizes. It is recorded because another one gives other pixels; see
/// [`DECODER`](super::decode::DECODER).
pub const RESIZER: &str = "fast_image_resize 6.1.0";

/// The filter of [`centre_square`], which does the same as torchvision's `Resize` (of the shorter side, antialiased,
/// bilinear) and `CenterCrop`.
pub const FILTER: &str = "antialiased bilinear, centre square";

/// Resizes (height, width, 3) bytes.
///
/// # Errors
/// In words, when the pixels do not fit the size.
pub fn resized(pixels: Vec<u8>, from: (usize, usize), to: (usize, usize)) -> Result<Vec<u8>, String> {
    if from == to {
        return Ok(pixels);
    }
    resampled(pixels, from, to, &bilinear())
}

/// Returns the centre square of (height, width, 3) bytes after resizing its shorter side to `size`. Pixels just outside
/// the square contribute to its outermost pixels, as if the whole image were resized and then cropped.
///
/// # Errors
/// In words, when the pixels do not fit the size.
pub fn centre_square(pixels: Vec<u8>, (height, width): (usize, usize), size: usize) -> Result<Vec<u8>, String> {
    if (height, width) == (size, size) {
        return Ok(pixels);
    }
    let side = width.min(height) as f64;
    let (left, top) = ((width as f64 - side) / 2.0, (height as f64 - side) / 2.0);
    resampled(pixels, (height, width), (size, size), &bilinear().crop(left, top, side, side))
}

fn bilinear() -> resize::ResizeOptions {
    resize::ResizeOptions::new().resize_alg(resize::ResizeAlg::Convolution(resize::FilterType::Bilinear))
}

fn resampled(
    mut pixels: Vec<u8>,
    from: (usize, usize),
    to: (usize, usize),
    options: &resize::ResizeOptions,
) -> Result<Vec<u8>, String> {
    // With the type of the pixels, only the code for this type is compiled, not that for twelve others. With both images
    // of one type, it is compiled once.
    let source = TypedImage::<U8x3>::from_buffer(from.1 as u32, from.0 as u32, &mut pixels);
    let source = source.map_err(|error| error.to_string())?;
    let mut target = TypedImage::<U8x3>::new(to.1 as u32, to.0 as u32);
    resize::Resizer::new().resize_typed(&source, &mut target, options).map_err(|error| error.to_string())?;
    Ok(target.pixels().iter().flat_map(|pixel| pixel.0).collect())
}
