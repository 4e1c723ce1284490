//! Batches of annotated images: sizes and pixels as in detectron2 and Pillow, flips, padding, and which images a step takes.

use sempair::data::annotated::{AnnotatedImage, AnnotatedSet, Object};
use sempair::data::annotated_batches::{AnnotatedBatch, AnnotatedBatches, Resizing, resized_shape};
use sempair::data::augment::Normalization;
use sempair::rng::Key;

/// Values become bytes / 255 - 0.5.
const HALF: Normalization = Normalization { mean: [0.5; 3], std: [1.0; 3] };
static AS_IT_IS: Resizing = Resizing { short: Vec::new(), longest: 1333 };

fn image(height: usize, width: usize, boxes: &[[f32; 4]]) -> AnnotatedImage {
    let object = |&edges: &[f32; 4]| Object { edges, category: 0, difficult: false, truncated: false, occluded: false };
    let pixels = (0..height * width * 3).map(|at| (37 * at % 256) as u8).collect();
    AnnotatedImage { height, width, pixels, objects: boxes.iter().map(object).collect() }
}

fn set(images: Vec<AnnotatedImage>) -> AnnotatedSet {
    AnnotatedSet::new("toy/train", vec!["thing".into()], images)
}

fn bytes(batch: &AnnotatedBatch, image: usize) -> Vec<u8> {
    let (height, width) = batch.images[image].size;
    let rows = batch.values[image * batch.height * batch.width * 3..].chunks_exact(batch.width * 3).take(height);
    rows.flat_map(|row| row[..width * 3].iter().map(|value| (255.0 * (value + 0.5)).round() as u8)).collect()
}

/// `ResizeShortestEdge.get_output_shape` of detectron2 with a longest side of 1333.
#[test]
fn the_shorter_side_is_resized_as_in_detectron2() {
    for (from, short, to) in [
        ((375, 500), 800, (800, 1067)),
        ((375, 500), 480, (480, 640)),
        ((500, 333), 608, (913, 608)),
        ((500, 500), 704, (704, 704)),
        ((200, 500), 800, (533, 1333)),
        ((127, 480), 800, (353, 1333)),
        ((442, 500), 672, (672, 760)),
    ] {
        assert_eq!(resized_shape(from, short, 1333), to);
    }
}

/// `Image.resize` of Pillow 13.0.0 with the bilinear filter, for the bytes 37 k modulo 256 of an image of 4x5 pixels. The
/// filter widens when it shrinks, and bytes are rounded after each of its two passes. Its coefficients have other roundings
/// than ours, so a byte may differ by 1.
#[test]
fn images_are_resized_as_in_pillow() {
    let resized = |short, longest| {
        let set = set(vec![image(4, 5, &[[1.0, 1.0, 3.0, 3.0]])]);
        let resizing = Resizing { short: vec![short], longest };
        let batches = AnnotatedBatches::new(&set, &resizing, &HALF);
        let batch = batches.evaluation(&[0]).unwrap();
        assert_eq!(batches.evaluated_size(0), batch.images[0].size);
        (batch.images[0].size, bytes(&batch, 0), batch.images[0].objects[0].edges)
    };
    let is_near = |bytes: &[u8], expected: &[u8]| bytes.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1);
    let (size, bytes, edges) = resized(2, 1333);
    assert_eq!(size, (2, 3));
    #[rustfmt::skip]
    let smaller = [79, 116, 137, 115, 91, 120, 150, 124, 99, 146, 136, 126, 121, 134, 122, 113, 129, 119];
    assert!(is_near(&bytes, &smaller), "{bytes:?}");
    let expected = [3.0 / 5.0, 0.5, 9.0 / 5.0, 1.5];
    assert!(
        edges.iter().zip(expected).all(|(edge, expected): (&f32, f32)| (edge - expected).abs() < 1e-6),
        "{edges:?}"
    );
    let (size, bytes, _) = resized(7, 8);
    #[rustfmt::skip]
    let first_row =
        [0, 37, 74, 49, 86, 123, 118, 139, 176, 187, 48, 85, 177, 38, 75, 86, 107, 144, 139, 176, 69, 188, 225, 6];
    assert_eq!(size, (6, 8));
    assert!(is_near(&bytes[..24], &first_row), "{bytes:?}");
}

#[test]
fn images_are_padded_with_zeros_and_flipped_with_their_boxes() {
    let set = set(vec![image(2, 3, &[[0.0, 0.0, 1.0, 2.0]]), image(3, 2, &[[1.0, 1.0, 2.0, 3.0]])]);
    let batches = AnnotatedBatches::new(&set, &AS_IT_IS, &HALF);
    let batch = batches.evaluation(&[0, 1]).unwrap();
    assert_eq!((batch.height, batch.width, batch.values.len()), (3, 3, 2 * 27));
    for at in 0..2 {
        assert_eq!(bytes(&batch, at), *set.pixels(at).unwrap());
        assert_eq!(batch.images[at].objects, set.objects(at));
    }
    assert!(batch.values[2 * 9..27].iter().all(|value| *value == 0.0), "the third row of the first image");

    let (mut flipped, mut whole) = (0, 0);
    for step in 0..40 {
        let batch = batches.training(2, step, Key::root(1)).unwrap();
        for (at, placed) in batch.images.iter().enumerate() {
            let original = if placed.size == (2, 3) { 0 } else { 1 };
            let (pixels, width) = (set.pixels(original).unwrap(), placed.size.1);
            let mirrored: Vec<u8> = (pixels.chunks_exact(width * 3))
                .flat_map(|row| row.chunks_exact(3).rev().flatten().copied().collect::<Vec<_>>())
                .collect();
            let [left, top, right, bottom] = set.objects(original)[0].edges;
            let is_flipped = bytes(&batch, at) == mirrored;
            assert!(is_flipped || bytes(&batch, at) == *pixels);
            let mirror = [width as f32 - right, top, width as f32 - left, bottom];
            let expected = if is_flipped { mirror } else { [left, top, right, bottom] };
            assert_eq!(placed.objects[0].edges, expected);
            *if is_flipped { &mut flipped } else { &mut whole } += 1;
        }
    }
    assert!(flipped > 25 && whole > 25, "{flipped} flipped, {whole} not");
}

/// Every epoch has each image with an object once, whatever the batch; shapes of a batch are similar; and a step depends
/// on nothing but its number and the key.
#[test]
fn steps_take_every_image_once_in_an_epoch() {
    let shapes = [(4, 8), (8, 4), (6, 6)];
    let mut images: Vec<AnnotatedImage> = (0..24)
        .map(|at| image(shapes[at % 3].0, shapes[at % 3].1, &[[0.0, 0.0, 1.0 + at as f32 / 8.0, 2.0]]))
        .collect();
    images.push(image(9, 9, &[]));
    let set = set(images);
    let batches = AnnotatedBatches::new(&set, &AS_IT_IS, &HALF);
    assert_eq!(batches.len(), 24);
    let (key, mut seen) = (Key::root(2), vec![0; 24]);
    let mut shapes_in_batches = 0;
    // Two epochs: 12 steps of 4 images, which is three groups.
    for step in 0..12 {
        let batch = batches.training(4, step, key).unwrap();
        assert_eq!(batch, batches.training(4, step, key).unwrap());
        for placed in &batch.images {
            let [left, _, right, _] = placed.objects[0].edges;
            seen[((right - left - 1.0) * 8.0).round() as usize] += 1;
        }
        let mut shapes: Vec<_> = batch.images.iter().map(|placed| placed.size).collect();
        shapes.sort_unstable();
        shapes.dedup();
        shapes_in_batches += shapes.len();
    }
    assert_eq!(seen, [2; 24]);
    assert!(shapes_in_batches <= 12 + 6, "{shapes_in_batches}: a group of four batches is sorted by shape");
    assert_ne!(batches.training(4, 0, key).unwrap(), batches.training(4, 0, Key::root(3)).unwrap());
}
