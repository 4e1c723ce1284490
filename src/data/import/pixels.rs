//! Converts one image of a source to square RGB pixels of the requested size.

use fast_image_resize as resize;
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U8x3;

use crate::data::decode::Picture;
use crate::data::decode::Tags;
use crate::data::decode::decode;

use super::plan::Records;

/// The library that resizes. It is recorded because another one gives other pixels; see
/// [`DECODER`](crate::data::decode::DECODER).
pub const RESIZER: &str = "fast_image_resize 6.1.0";

/// The filter, which does the same as torchvision's `Resize` (of the shorter side, antialiased, bilinear) and
/// `CenterCrop`.
pub const FILTER: &str = "antialiased bilinear, centre square";

type Pixels = Result<Vec<u8>, String>;

/// Decodes a still image to (size, size, 3) bytes.
pub fn image(bytes: &[u8], size: usize) -> Pixels {
    let Picture { height, width, pixels, .. } = decode(bytes, Tags::Ignored)?;
    square(pixels, width, height, size)
}

/// Converts one record of a binary set to (size, size, 3) bytes.
pub fn record(bytes: &[u8], records: &Records, size: usize) -> Pixels {
    let side = records.side;
    let planes = &bytes[records.header..];
    let mut pixels = vec![0; planes.len()];
    for (i, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let at = if records.column_major { i % side * side + i / side } else { i };
        for (channel, value) in pixel.iter_mut().enumerate() {
            *value = planes[channel * side * side + at];
        }
    }
    square(pixels, side, side, size)
}

/// Returns the centre square of `pixels` (height, width, 3) after resizing its shorter side to `size`. Pixels just
/// outside the square contribute to its outermost pixels, as if the whole image were resized and then cropped.
fn square(mut pixels: Vec<u8>, width: usize, height: usize, size: usize) -> Pixels {
    if (width, height) == (size, size) {
        return Ok(pixels);
    }
    let side = width.min(height) as f64;
    let (left, top) = ((width as f64 - side) / 2.0, (height as f64 - side) / 2.0);
    let options = resize::ResizeOptions::new()
        .resize_alg(resize::ResizeAlg::Convolution(resize::FilterType::Bilinear))
        .crop(left, top, side, side);
    // With the type of the pixels, only the code for this type is compiled, not that for twelve others. With both images
    // of one type, it is compiled once.
    let source = TypedImage::<U8x3>::from_buffer(width as u32, height as u32, &mut pixels);
    let source = source.map_err(|error| error.to_string())?;
    let mut target = TypedImage::<U8x3>::new(size as u32, size as u32);
    resize::Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())?;
    Ok(target.pixels().iter().flat_map(|pixel| pixel.0).collect())
}
