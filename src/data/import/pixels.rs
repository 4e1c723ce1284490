//! Converts the bytes of one image to square RGB pixels of the requested size.

use std::io::Cursor;

use fast_image_resize as resize;
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U8x3;
use image::AnimationDecoder;
use image::DynamicImage;
use image::ImageDecoder;
use image::ImageFormat;
use image::Limits;
use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;

use super::plan::Records;

/// The libraries that made the pixels. They are recorded because another decoder or filter gives other pixels. A
/// crate does not know the versions of the crates that it uses, so they are written here, and a test compares them
/// with the lock file.
pub const DECODER: &str = "image 0.25.10 (zune-jpeg 0.5.15, png 0.18.1, gif 0.14.2, image-webp 0.2.4, tiff 0.11.3), \
    fast_image_resize 6.1.0";

/// The filter, which does the same as torchvision's `Resize` (of the shorter side, antialiased, bilinear) and
/// `CenterCrop`.
pub const FILTER: &str = "antialiased bilinear, centre square";

/// The maximum number of pixels of an image, about 8,192x8,192. Larger images are refused before memory is allocated
/// for them.
const PIXEL_LIMIT: u64 = 1 << 26;

type Decoded = Result<Vec<u8>, String>;

/// Decodes a still image to (size, size, 3) bytes. Its format is recognised by its bytes. Gray becomes RGB,
/// transparency is dropped, and CMYK is converted. Orientation tags are ignored, as in the loaders that published
/// results come from.
pub fn image(bytes: &[u8], size: usize) -> Decoded {
    let text = |error: image::ImageError| error.to_string();
    let file = Cursor::new(bytes);
    let rgb = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let pixels = checked(JpegDecoder::new(file).map_err(text)?)?;
            // The decoder fills a missing end with gray, without an error.
            ends_properly(bytes).then_some(pixels).ok_or("the JPEG is truncated")?
        }
        Ok(ImageFormat::Png) => {
            let decoder = PngDecoder::new(file).map_err(text)?;
            if decoder.is_apng().map_err(text)? {
                return Err(SEVERAL.into());
            }
            checked(decoder)?
        }
        Ok(ImageFormat::Bmp) => checked(BmpDecoder::new(file).map_err(text)?)?,
        Ok(ImageFormat::Tiff) if has_pages(bytes) => return Err(SEVERAL.into()),
        Ok(ImageFormat::Tiff) => checked(TiffDecoder::new(file).map_err(text)?)?,
        Ok(ImageFormat::Pnm) => checked(PnmDecoder::new(file).map_err(text)?)?,
        Ok(ImageFormat::WebP) => match WebPDecoder::new(file).map_err(text)? {
            moving if moving.has_animation() => return Err(SEVERAL.into()),
            still => checked(still)?,
        },
        Ok(ImageFormat::Gif) => {
            let pixels = checked(GifDecoder::new(file).map_err(text)?)?;
            let mut frames = GifDecoder::new(Cursor::new(bytes)).map_err(text)?;
            frames.set_limits(limits()).map_err(text)?;
            if frames.into_frames().take(2).count() > 1 {
                return Err(SEVERAL.into());
            }
            pixels
        }
        _ => return Err("not a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM image".into()),
    };
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    square(rgb.into_rgb8().into_raw(), width, height, size)
}

const SEVERAL: &str = "an image of several frames or pages; only single images are read";

/// Whether a second directory follows the first directory of a TIFF (revision 6.0, section 2). The file begins with a
/// 2-byte order, 42, and the offset of the first directory. A directory has a 2-byte count, 12 bytes for each entry,
/// and the offset of the next directory or 0.
fn has_pages(tiff: &[u8]) -> bool {
    let big_endian = tiff.starts_with(b"MM");
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = tiff.get(at..at.checked_add(bytes)?)?.iter().map(|&byte| usize::from(byte));
        let join = |number: usize, byte: usize| number << 8 | byte;
        Some(if big_endian { field.fold(0, join) } else { field.rev().fold(0, join) })
    };
    let next = || {
        let directory = number(4, 4)?;
        number(directory.checked_add(2)?.checked_add(12 * number(directory, 2)?)?, 4)
    };
    next().is_some_and(|next| next != 0)
}

/// Converts one record of a binary set to (size, size, 3) bytes.
pub fn record(bytes: &[u8], records: &Records, size: usize) -> Decoded {
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

/// Limits what a decoder may allocate to the largest image with four channels of 16 bits. A frame may be larger than
/// its image.
fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(PIXEL_LIMIT * 8);
    limits
}

fn checked(mut decoder: impl ImageDecoder) -> Result<DynamicImage, String> {
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXEL_LIMIT {
        return Err(format!("{width}x{height} pixels are more than the {PIXEL_LIMIT} that are read"));
    }
    decoder.set_limits(limits()).map_err(|error| error.to_string())?;
    DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())
}

/// Whether an end-of-image marker follows the first scan. Inside a scan, the byte FF is followed by 00 or a restart
/// marker, so no end marker is found there by accident. An end marker inside an embedded thumbnail comes before the
/// scan.
fn ends_properly(jpeg: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        if marker == 0xda {
            return jpeg[at..].windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
        // Any number of FF may come before a marker.
        at += if marker == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
    }
    false
}

/// Returns the centre square of `pixels` (height, width, 3) after resizing its shorter side to `size`. Pixels just
/// outside the square contribute to its outermost pixels, as if the whole image were resized and then cropped.
fn square(mut pixels: Vec<u8>, width: usize, height: usize, size: usize) -> Decoded {
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
