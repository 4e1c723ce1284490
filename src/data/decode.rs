//! Decodes image files to RGB pixels.

use std::io::Cursor;

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
use image::metadata::Orientation;

/// The libraries that decode. They are recorded because another decoder gives other pixels. A crate does not know the
/// versions of the crates that it uses, so they are written here, and a test compares them with the lock file.
pub const DECODER: &str = "image 0.25.10 (zune-jpeg 0.5.15, png 0.18.1, gif 0.14.2, image-webp 0.2.4, tiff 0.11.3)";

/// The maximum number of pixels of an image, about 8,192x8,192. Larger images are refused before memory is allocated
/// for them.
const PIXEL_LIMIT: u64 = 1 << 26;

/// A decoded image.
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// RGB bytes (height, width, 3).
    pub pixels: Vec<u8>,
    /// Whether an orientation tag turned or mirrored it.
    pub turned: bool,
}

/// What to do with the orientation that cameras write into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The rows and columns stay as they are stored, as in the loaders that results on labelled images come from.
    Ignored,
    /// The image is turned upright, as in Detectron2.
    Applied,
}

/// Decodes a still image. Its format is recognised by its bytes. Gray becomes RGB, transparency is dropped, and CMYK
/// is converted.
///
/// # Errors
/// In words, when the file is damaged, has several frames or pages, is too large, or has another format.
pub fn decode(bytes: &[u8], tags: Tags) -> Result<Picture, String> {
    let text = |error: image::ImageError| error.to_string();
    let file = Cursor::new(bytes);
    let (image, turned) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let pixels = checked(JpegDecoder::new(file).map_err(text)?, tags)?;
            // The decoder fills a missing end with gray, without an error.
            ends_properly(bytes).then_some(pixels).ok_or("the JPEG is truncated")?
        }
        Ok(ImageFormat::Png) => {
            let decoder = PngDecoder::new(file).map_err(text)?;
            if decoder.is_apng().map_err(text)? {
                return Err(SEVERAL.into());
            }
            checked(decoder, tags)?
        }
        Ok(ImageFormat::Bmp) => checked(BmpDecoder::new(file).map_err(text)?, tags)?,
        Ok(ImageFormat::Tiff) if has_pages(bytes) => return Err(SEVERAL.into()),
        Ok(ImageFormat::Tiff) => checked(TiffDecoder::new(file).map_err(text)?, tags)?,
        Ok(ImageFormat::Pnm) => checked(PnmDecoder::new(file).map_err(text)?, tags)?,
        Ok(ImageFormat::WebP) => match WebPDecoder::new(file).map_err(text)? {
            moving if moving.has_animation() => return Err(SEVERAL.into()),
            still => checked(still, tags)?,
        },
        Ok(ImageFormat::Gif) => {
            let pixels = checked(GifDecoder::new(file).map_err(text)?, tags)?;
            let mut frames = GifDecoder::new(Cursor::new(bytes)).map_err(text)?;
            frames.set_limits(limits()).map_err(text)?;
            if frames.into_frames().take(2).count() > 1 {
                return Err(SEVERAL.into());
            }
            pixels
        }
        _ => return Err("not a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM image".into()),
    };
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(Picture { height, width, pixels: image.into_rgb8().into_raw(), turned })
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

/// Limits what a decoder may allocate to the largest image with four channels of 16 bits. A frame may be larger than
/// its image.
fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(PIXEL_LIMIT * 8);
    limits
}

/// Returns the image, and whether an orientation tag changed it.
fn checked(mut decoder: impl ImageDecoder, tags: Tags) -> Result<(DynamicImage, bool), String> {
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXEL_LIMIT {
        return Err(format!("{width}x{height} pixels are more than the {PIXEL_LIMIT} that are read"));
    }
    decoder.set_limits(limits()).map_err(|error| error.to_string())?;
    let orientation = match tags {
        Tags::Ignored => Orientation::NoTransforms,
        Tags::Applied => decoder.orientation().map_err(|error| error.to_string())?,
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    image.apply_orientation(orientation);
    Ok((image, orientation != Orientation::NoTransforms))
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
