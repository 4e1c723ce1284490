//! The bootstrap over images, against standard errors in closed form and against all possible replicates.

use std::panic::catch_unwind;

use sempair::eval::AveragePrecision;
use sempair::eval::DetectedImage;
use sempair::eval::Detection;
use sempair::eval::GroundTruth;
use sempair::eval::Interpolation;
use sempair::eval::Marks;
use sempair::eval::Matching;
use sempair::eval::Replicates;
use sempair::rng::Key;

/// `count` images with one object each, of which those in `found` are detected, and nothing else is.
fn recalls(count: usize, found: std::ops::Range<usize>) -> Marks {
    let edges = [0.0, 0.0, 10.0, 10.0];
    let image = |i: usize| DetectedImage {
        objects: vec![GroundTruth { edges, category: 0, difficult: false }],
        detections: found.contains(&i).then_some(Detection { edges, category: 0, score: 0.5 }).into_iter().collect(),
    };
    Marks::new(&(0..count).map(image).collect::<Vec<_>>(), 1, Matching::Voc).unwrap()
}

fn replicates(marks: &Marks) -> Replicates {
    Replicates::new(marks, Interpolation::Area, 20_000, Key::root(4))
}

fn assert_near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 0.02, "{found}, {expected}");
}

// Without false alarms the area is the recall, a mean over images, and its standard error is known: the deviation of an
// image's contribution, over the square root of their number.
#[test]
fn the_standard_error_of_a_mean_over_images_is_its_closed_form() {
    let deviation = |shares: &[(f64, f64)]| {
        let mean: f64 = shares.iter().map(|(value, share)| value * share).sum();
        shares.iter().map(|(value, share)| (value - mean).powi(2) * share).sum::<f64>().sqrt()
    };
    let (a, b) = (replicates(&recalls(40, 0..10)), replicates(&recalls(40, 5..25)));
    let error = a.standard_error().unwrap();
    assert_near(error.ap50, 100.0 * deviation(&[(1.0, 0.25), (0.0, 0.75)]) / 40f64.sqrt());
    assert!((error.ap - error.ap50).abs() < 1e-9 && (error.ap75 - error.ap50).abs() < 1e-9);
    assert_eq!((a.estimate().ap, b.estimate().ap), (25.0, 50.0));
    let (low, high) = a.interval().unwrap();
    assert!((high.ap - low.ap - 2.0 * 1.96 * error.ap).abs() < 1e-9 && (high.ap + low.ap - 50.0).abs() < 1e-9);

    // Of 40 images, b alone finds 15, a alone finds 5. Unpaired, the error would be larger: 10.5 instead of 10.3.
    let difference = b.minus(&a);
    assert_eq!(difference.estimate().ap50, 25.0);
    assert_near(
        difference.standard_error().unwrap().ap50,
        100.0 * deviation(&[(1.0, 0.375), (-1.0, 0.125), (0.0, 0.5)]) / 40f64.sqrt(),
    );
    // The mean of both as seeds: an image contributes 0, 1/2 or 1.
    let mean = Replicates::mean(&[a.clone(), b]);
    assert_eq!(mean.estimate().ap75, 37.5);
    assert_near(
        mean.standard_error().unwrap().ap75,
        100.0 * deviation(&[(1.0, 0.125), (0.5, 0.5), (0.0, 0.375)]) / 40f64.sqrt(),
    );
    // Equal results have no difference in any replicate, and equal seeds have the error of one.
    assert_eq!(a.minus(&a).standard_error(), Some(AveragePrecision { ap50: 0.0, ap: 0.0, ap75: 0.0 }));
    assert_eq!(Replicates::mean(&[a.clone(), a.clone()]), a);
}

/// Four images, two categories; the second category is in one image, so that many replicates lack it.
fn four_images() -> Vec<DetectedImage> {
    let object =
        |left: f32, category| GroundTruth { edges: [left, 0.0, left + 10.0, 10.0], category, difficult: left == 90.0 };
    let detection = |left: f32, category, score| Detection { edges: object(left, 0).edges, category, score };
    let image = |objects: &[GroundTruth], detections: &[Detection]| DetectedImage {
        objects: objects.to_vec(),
        detections: detections.to_vec(),
    };
    vec![
        image(&[object(0.0, 0), object(20.0, 0)], &[detection(1.0, 0, 0.9), detection(40.0, 0, 0.8)]),
        image(&[object(0.0, 0)], &[detection(2.0, 0, 0.7), detection(50.0, 1, 0.65), detection(90.0, 0, 0.85)]),
        image(&[object(0.0, 1), object(90.0, 0)], &[detection(0.0, 1, 0.6), detection(90.0, 0, 0.95)]),
        image(&[], &[detection(0.0, 0, 0.75), detection(0.0, 1, 0.55)]),
    ]
}

/// The standard deviation over all equally likely replicates, made of images that are repeated. Those without an object
/// that counts are no replicates.
fn exact(images: &[DetectedImage], interpolation: Interpolation, read: fn(&AveragePrecision) -> f64) -> f64 {
    let n = images.len();
    let drawn = |number: usize| (0..n).map(|i| images[number / n.pow(i as u32) % n].clone()).collect::<Vec<_>>();
    let value =
        |number: usize| Some(read(&Marks::new(&drawn(number), 2, Matching::Voc).ok()?.result(interpolation).mean));
    let values: Vec<f64> = (0..n.pow(n as u32)).filter_map(value).collect();
    assert_eq!(values.len(), 255, "one of 256 draws the image without objects four times");
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn the_standard_error_is_that_of_all_possible_replicates() {
    let images = four_images();
    let marks = Marks::new(&images, 2, Matching::Voc).unwrap();
    for interpolation in [Interpolation::ElevenPoints, Interpolation::Area] {
        let error = Replicates::new(&marks, interpolation, 20_000, Key::root(5)).standard_error().unwrap();
        assert_near(error.ap50, exact(&images, interpolation, |all| all.ap50));
        assert_near(error.ap, exact(&images, interpolation, |all| all.ap));
        assert_near(error.ap75, exact(&images, interpolation, |all| all.ap75));
    }
}

#[test]
fn replicates_are_those_of_their_key_and_images() {
    let of = |marks: &Marks, count: usize, key: u64| {
        Replicates::new(marks, Interpolation::ElevenPoints, count, Key::root(key))
    };
    let (ten, other) = (recalls(10, 0..5), recalls(11, 0..5));
    assert_eq!(of(&ten, 20, 0), of(&ten, 20, 0));
    assert_ne!(of(&ten, 20, 0).standard_error(), of(&ten, 20, 1).standard_error());
    // Results on other images, other draws, or another number of draws have no difference.
    for wrong in [of(&other, 20, 0), of(&ten, 20, 1), of(&ten, 21, 0)] {
        let (ours, theirs) = (of(&ten, 20, 0), wrong.clone());
        assert!(catch_unwind(move || ours.minus(&theirs)).is_err());
        let seeds = [of(&ten, 20, 0), wrong];
        assert!(catch_unwind(move || Replicates::mean(&seeds)).is_err());
    }
    // One image, or one replicate, says nothing of others.
    assert_eq!(of(&recalls(1, 0..1), 20, 0).standard_error(), None);
    assert_eq!(of(&ten, 1, 0).interval(), None);
}
