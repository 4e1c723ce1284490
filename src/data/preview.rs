//! Contact sheets: one image that shows rows of small pictures, enlarged, for visual inspection.

use std::path::Path;

use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::PngEncoder;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;

/// Width in pixels of the white gap between pictures and around the sheet.
const GAP: usize = 4;

/// Places rows of square pictures, each `(size, pixels (size, size, 3))`, on one white sheet. Each pixel of the largest
/// picture becomes `scale` x `scale` pixels. All cells have the size of the largest picture, and smaller pictures are
/// enlarged to fill their cells. Returns width, height and the sheet's pixels (height, width, 3).
///
/// # Panics
/// When a picture's pixels do not match its size.
pub fn contact_sheet(rows: &[Vec<(usize, Vec<u8>)>], scale: usize) -> (usize, usize, Vec<u8>) {
    let cell = scale * rows.iter().flatten().map(|(size, _)| *size).max().unwrap_or(0);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (GAP + columns * (cell + GAP), GAP + rows.len() * (cell + GAP));
    let mut sheet = vec![255; width * height * 3];
    for (r, row) in rows.iter().enumerate() {
        for (c, (size, pixels)) in row.iter().enumerate() {
            assert!(pixels.len() == size * size * 3, "contact_sheet: {} bytes for {size}x{size}", pixels.len());
            for (y, x) in (0..cell).flat_map(|y| (0..cell).map(move |x| (y, x))) {
                let from = 3 * (y * size / cell * size + x * size / cell);
                let to = 3 * ((GAP + r * (cell + GAP) + y) * width + GAP + c * (cell + GAP) + x);
                sheet[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
            }
        }
    }
    (width, height, sheet)
}

/// Writes `rgb` (height, width, 3) as a PNG file, completely or not at all, and creates missing parent folders.
///
/// # Errors
/// When the file cannot be written, a size is 0, or the sizes do not agree with the number of bytes.
pub fn write_png(path: &Path, width: usize, height: usize, rgb: &[u8]) -> Result<()> {
    let place = || format!("picture {}", path.display());
    if width == 0 || height == 0 || rgb.len() != width * height * 3 {
        return Err(Error::new(format!("{}: {} bytes for {width}x{height} pixels", place(), rgb.len())));
    }
    files::write_whole(path, &png(width, height, rgb).context(place())?)
}

/// Encodes `rgb` (height, width, 3) as PNG.
///
/// # Errors
/// When the sizes do not agree with the number of bytes.
pub fn png(width: usize, height: usize, rgb: &[u8]) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    let encoded = PngEncoder::new(&mut png).write_image(rgb, width as u32, height as u32, ExtendedColorType::Rgb8);
    encoded.context("encoding a PNG")?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_two_sizes_share_a_grid_and_survive_the_file() {
        let rows = vec![vec![(1, vec![9; 3]), (2, (0..12).collect())], vec![(2, vec![7; 12])]];
        let (width, height, sheet) = contact_sheet(&rows, 2);
        assert_eq!((width, height), (3 * GAP + 2 * 4, 3 * GAP + 2 * 4));
        let at = |x: usize, y: usize| &sheet[3 * (y * width + x)..][..3];
        assert_eq!(at(GAP + 3, GAP + 3), [9; 3]);
        assert_eq!(at(2 * GAP + 4 + 3, GAP + 3), [9, 10, 11]);
        assert_eq!(at(2 * GAP + 4, 2 * GAP + 4), [255; 3], "an empty cell stays white");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        write_png(&path, width, height, &sheet).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8().into_raw(), sheet);
        assert!(write_png(&path, width + 1, height, &sheet).is_err());
    }
}
