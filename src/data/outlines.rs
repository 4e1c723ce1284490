//! Draws the boxes of an image's objects, each in the colour of its category, for visual inspection.

use crate::error::Result;

use super::annotated::AnnotatedSet;

/// Width of a line in pixels.
const LINE: usize = 2;

/// Length of the dashes around a difficult object, in pixels.
const DASH: usize = 5;

/// Returns an image with the boxes of its objects as a square (side, side, 3). Its longer side is scaled to `side`, and
/// the rest is white. Boxes of difficult objects are dashed.
///
/// # Errors
/// When the image cannot be decoded.
pub fn outlined(set: &AnnotatedSet, image: usize, side: usize) -> Result<Vec<u8>> {
    let ((height, width), pixels) = (set.size(image), set.pixels(image)?);
    let longer = height.max(width);
    let mut square = vec![255; side * side * 3];
    for (at, target) in square.chunks_exact_mut(3).enumerate() {
        let (y, x) = (at / side * longer / side, at % side * longer / side);
        if y < height && x < width {
            target.copy_from_slice(&pixels[3 * (y * width + x)..][..3]);
        }
    }
    let scale = side as f32 / longer as f32;
    for object in set.objects(image) {
        let dash = if object.difficult { DASH } else { usize::MAX };
        outline(&mut square, side, object.edges.map(|edge| edge * scale), colour(object.category), dash);
    }
    Ok(square)
}

/// Draws a box's outline inside of its edges.
fn outline(square: &mut [u8], side: usize, edges: [f32; 4], colour: [u8; 3], dash: usize) {
    let [left, top, right, bottom] = edges.map(|edge| (edge.round() as usize).min(side));
    for (y, x) in (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x))) {
        let inner = [x - left, right - 1 - x, y - top, bottom - 1 - y].iter().all(|&distance| distance >= LINE);
        if !inner && ((x + y) / dash).is_multiple_of(2) {
            square[3 * (y * side + x)..][..3].copy_from_slice(&colour);
        }
    }
}

/// Returns the colour of a category. Hues are apart by the golden ratio, so that neighbours differ.
pub fn colour(category: u32) -> [u8; 3] {
    let hue = (f64::from(category) * 0.618_034).fract() * 6.0;
    [5.0, 3.0, 1.0].map(|shift: f64| {
        let place = (shift + hue) % 6.0;
        (255.0 * (1.0 - place.min(4.0 - place).clamp(0.0, 1.0))).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::annotated::{AnnotatedImage, Object};

    #[test]
    fn boxes_are_outlined_and_difficult_ones_dashed() {
        let object =
            |edges, category, difficult| Object { edges, category, difficult, truncated: false, occluded: false };
        let objects = vec![object([0.0, 0.0, 8.0, 4.0], 0, false), object([8.0, 0.0, 16.0, 8.0], 1, true)];
        let image = AnnotatedImage { height: 8, width: 16, pixels: vec![9; 8 * 16 * 3], objects };
        let set = AnnotatedSet::new("toy/train", vec!["a".into(), "b".into()], vec![image]);
        let square = outlined(&set, 0, 32).unwrap();
        let at = |y: usize, x: usize| &square[3 * (y * 32 + x)..][..3];
        // The image fills the upper half, twice as large.
        assert_eq!((at(12, 4), at(15, 15), at(16, 0)), (&[9; 3][..], &[9; 3][..], &[255; 3][..]));
        assert_eq!(colour(0), [255, 0, 0]);
        assert!([at(0, 0), at(1, 1), at(7, 15), at(3, 14)].iter().all(|pixel| *pixel == colour(0)), "{square:?}");
        assert_eq!(at(2, 2), [9; 3], "inside of the box");
        let second =
            (0..16).flat_map(|y| (16..32).map(move |x| (y, x))).filter(|&(y, x)| at(y, x) == colour(1)).count();
        let border = 16 * 16 - 12 * 12;
        assert!((border / 3..border * 2 / 3).contains(&second), "{second} of {border}");
    }
}
