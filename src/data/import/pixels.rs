//! Converts one image of a source to square RGB pixels of the requested size.

use crate::data::decode::Picture;
use crate::data::decode::Tags;
use crate::data::decode::decode;
use crate::data::resize::centre_square;

use super::plan::Records;

type Pixels = Result<Vec<u8>, String>;

/// Decodes a still image to (size, size, 3) bytes.
pub fn image(bytes: &[u8], size: usize) -> Pixels {
    let Picture { height, width, pixels, .. } = decode(bytes, Tags::Ignored)?;
    centre_square(pixels, (height, width), size)
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
    centre_square(pixels, (side, side), size)
}
