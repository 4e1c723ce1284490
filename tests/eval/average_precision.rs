//! Average precision: reference numbers, curves, and what is refused.

use rayon::ThreadPoolBuilder;
use sempair::error::ErrorKind;
use sempair::eval::AveragePrecision;
use sempair::eval::DetectedImage;
use sempair::eval::Detection;
use sempair::eval::DetectionResult;
use sempair::eval::GroundTruth;
use sempair::eval::Interpolation;
use sempair::eval::Mark;
use sempair::eval::Marks;
use sempair::eval::Matching;
use sempair::eval::Replicates;
use sempair::rng::Key;
use serde::Deserialize;

use super::check;

/// Sets with their results. `eleven`, `area` and `printed` are Detectron2's (02b5c4e) `voc_eval` without and with its
/// text file, written out in numpy 2.4.6, f64, and compared with Detectron2's own; but a category without an object is
/// left out of the mean. `coco` is `COCOeval` of pycocotools with difficult objects as crowds.
const SETS: &str = include_str!("average_precision.json");

#[derive(Deserialize)]
struct Set {
    name: String,
    images: usize,
    categories: usize,
    /// Image, category, edges, difficult.
    objects: Vec<[f32; 7]>,
    /// Image, category, score, edges.
    detections: Vec<[f32; 7]>,
    /// By category, at IoU 0.50 by descending score: 1 for a hit, 0 for a false alarm, none if ignored.
    marks: Vec<Vec<Option<u32>>>,
    eleven: Expected,
    area: Expected,
    printed: Expected,
    coco: Expected,
}

#[derive(Deserialize)]
struct Expected {
    ap50: f64,
    ap: f64,
    ap75: f64,
    /// AP50; none without an object.
    categories: Vec<Option<f64>>,
}

impl Set {
    /// The images in this order.
    fn in_order(&self, order: &[usize]) -> Vec<DetectedImage> {
        let object = |&[_, category, left, top, right, bottom, difficult]: &[f32; 7]| GroundTruth {
            edges: [left, top, right, bottom],
            category: category as u32,
            difficult: difficult == 1.0,
        };
        let detection = |&[_, category, score, left, top, right, bottom]: &[f32; 7]| Detection {
            edges: [left, top, right, bottom],
            category: category as u32,
            score,
        };
        let image = |&image: &usize| DetectedImage {
            objects: self.objects.iter().filter(|row| row[0] == image as f32).map(object).collect(),
            detections: self.detections.iter().filter(|row| row[0] == image as f32).map(detection).collect(),
        };
        order.iter().map(image).collect()
    }

    /// The images in the order in which the list of detections has them, then the others: Detectron2 has no other order.
    fn as_listed(&self) -> Vec<DetectedImage> {
        let mut order: Vec<usize> = self.detections.iter().map(|row| row[0] as usize).collect();
        order.dedup();
        let others: Vec<usize> = (0..self.images).filter(|image| !order.contains(image)).collect();
        self.in_order(&[order, others].concat())
    }

    fn check(&self, result: &DetectionResult, expected: &Expected) {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let AveragePrecision { ap50, ap, ap75 } = result.mean;
        let means = near(ap50, expected.ap50) && near(ap, expected.ap) && near(ap75, expected.ap75);
        assert!(means, "{}: {:?}", self.name, result.mean);
        let found = result.categories.iter().map(|category| category.average_precision.map(|all| all.ap50));
        assert_eq!(found.len(), expected.categories.len());
        for (found, expected) in found.zip(&expected.categories) {
            let same = found.is_some() == expected.is_some() && found.zip(*expected).is_none_or(|(a, b)| near(a, b));
            assert!(same, "{}: {found:?}, {expected:?}", self.name);
        }
    }
}

fn marks(images: &[DetectedImage], categories: usize, matching: Matching) -> Marks {
    Marks::new(images, categories, matching).unwrap()
}

#[test]
fn average_precision_is_that_of_the_references() {
    let sets: Vec<Set> = serde_json::from_str(SETS).unwrap();
    assert_eq!(sets.len(), 13);
    for set in &sets {
        let voc = marks(&set.as_listed(), set.categories, Matching::Voc);
        for (category, expected) in set.marks.iter().enumerate() {
            let number = |mark: &Mark| match mark {
                Mark::Hit => Some(1),
                Mark::False => Some(0),
                Mark::Ignored => None,
            };
            assert_eq!(&voc.of(category, 50).iter().map(number).collect::<Vec<_>>(), expected, "{}", set.name);
        }
        set.check(&voc.result(Interpolation::ElevenPoints), &set.eleven);
        set.check(&voc.result(Interpolation::Area), &set.area);
        let printed = marks(&set.as_listed(), set.categories, Matching::VocPrinted);
        set.check(&printed.result(Interpolation::ElevenPoints), &set.printed);
        // COCO puts the images into the order of their numbers.
        let coco = marks(&set.in_order(&(0..set.images).collect::<Vec<_>>()), set.categories, Matching::Coco);
        set.check(&coco.result(Interpolation::HundredOnePoints), &set.coco);
    }
}

/// An object, or a detection of it: 10 x 10 pixels from `left`.
fn object(left: f32, category: u32) -> GroundTruth {
    GroundTruth { edges: [left, 0.0, left + 10.0, 10.0], category, difficult: false }
}

fn detection(left: f32, category: u32, score: f32) -> Detection {
    Detection { edges: object(left, 0).edges, category, score }
}

fn image(objects: &[GroundTruth], detections: &[Detection]) -> DetectedImage {
    DetectedImage { objects: objects.to_vec(), detections: detections.to_vec() }
}

#[test]
fn a_curve_has_its_hits_and_the_best_precision_behind_them() {
    let found = [detection(0.0, 0, 0.9), detection(70.0, 0, 0.8), detection(20.0, 0, 0.7), detection(90.0, 0, 0.6)];
    let images = [image(&[object(0.0, 0), object(20.0, 0), object(40.0, 0)], &found)];
    let curve = marks(&images, 1, Matching::Voc).curve(0, 50);
    let points: Vec<_> = curve.points().iter().map(|point| (point.recall, point.precision)).collect();
    assert_eq!(points, [(1.0 / 3.0, 1.0), (2.0 / 3.0, 2.0 / 3.0)]);
    assert_eq!(
        [0.0, 0.33, 0.34, 0.66, 0.67].map(|recall| curve.interpolated(recall)),
        [1.0, 1.0, 2.0 / 3.0, 2.0 / 3.0, 0.0]
    );
    // False, hit, hit: precision rises, and the first hit counts with the precision of the second.
    let rising = [image(&images[0].objects, &[detection(70.0, 0, 0.9), found[2], detection(40.0, 0, 0.5)])];
    let curve = marks(&rising, 1, Matching::Voc).curve(0, 95);
    let points: Vec<_> = curve.points().iter().map(|point| (point.precision, point.interpolated)).collect();
    assert_eq!(points, [(0.5, 2.0 / 3.0), (2.0 / 3.0, 2.0 / 3.0)]);
}

#[test]
fn what_is_missing_counts_as_the_rules_say() {
    // Category 0: found. 1: never detected. 2: only difficult objects. 3: only detections. 4: nothing.
    let difficult = GroundTruth { difficult: true, ..object(20.0, 2) };
    let images = [
        image(&[], &[]),
        image(&[object(0.0, 0), object(40.0, 1), difficult], &[detection(0.0, 0, 0.5), detection(20.0, 2, 0.5)]),
        image(&[], &[detection(0.0, 3, 0.9), detection(0.0, 3, 0.8)]),
    ];
    let result = marks(&images, 5, Matching::Voc).result(Interpolation::ElevenPoints);
    assert_eq!(result.left_out(), [2, 3, 4]);
    assert!((result.mean.ap - 50.0).abs() < 1e-9, "{result:?}");
    let counts: Vec<_> = result.categories.iter().map(|category| (category.objects, category.detections)).collect();
    assert_eq!(counts, [(1, 1), (1, 0), (0, 1), (0, 2), (0, 0)]);
    assert_eq!(marks(&images, 5, Matching::Voc).of(2, 95), [Mark::Ignored]);

    let none = AveragePrecision { ap50: 0.0, ap: 0.0, ap75: 0.0 };
    let undetected = marks(&[image(&[object(0.0, 0)], &[])], 1, Matching::Voc);
    for interpolation in [Interpolation::ElevenPoints, Interpolation::HundredOnePoints, Interpolation::Area] {
        assert_eq!(undetected.result(interpolation).mean, none);
    }
    assert!(undetected.curve(0, 75).points().is_empty());
    // A box without area meets nothing, not even itself.
    let empty = GroundTruth { edges: [5.0; 4], ..object(0.0, 0) };
    let on_itself = Detection { edges: [5.0; 4], ..detection(0.0, 0, 1.0) };
    for matching in [Matching::Voc, Matching::VocPrinted, Matching::Coco] {
        assert_eq!(marks(&[image(&[empty], &[on_itself])], 1, matching).of(0, 50), [Mark::False]);
    }
}

#[test]
fn coco_takes_the_hundred_best_of_an_image_and_category() {
    let falses: Vec<Detection> = (0..100).map(|i| detection(50.0, 0, 0.9 - i as f32 / 1000.0)).collect();
    let others = [detection(0.0, 1, 0.7), detection(0.0, 0, 0.1)];
    let images = [image(&[object(0.0, 0), object(0.0, 1)], &[&others[..], &falses].concat())];
    let hits = |matching| [0, 1].map(|category| marks(&images, 2, matching).curve(category, 50).points().len());
    assert_eq!((hits(Matching::Coco), hits(Matching::Voc)), ([0, 1], [1, 1]));
}

#[test]
fn equal_scores_keep_their_order() {
    // 0 and -0 are equal; as text, so are scores that differ in the fourth decimal.
    let first = |found: [Detection; 2], matching| marks(&[image(&[object(0.0, 0)], &found)], 1, matching).of(0, 50)[0];
    let pair = |first: f32, second: f32| [detection(30.0, 0, first), detection(0.0, 0, second)];
    assert_eq!(first(pair(-0.0, 0.0), Matching::Voc), Mark::False);
    assert_eq!(first(pair(0.7001, 0.7004), Matching::Voc), Mark::Hit);
    assert_eq!(first(pair(0.7001, 0.7004), Matching::VocPrinted), Mark::False);
}

#[test]
fn numbers_that_are_none_and_impossible_boxes_are_refused() {
    let refused = |objects: &[GroundTruth], detections: &[Detection]| {
        Marks::new(&[image(&[object(0.0, 0)], &[]), image(objects, detections)], 2, Matching::Voc).unwrap_err()
    };
    let edges = |edges| Detection { edges, ..detection(0.0, 0, 0.5) };
    let hint = "the detector has diverged: look at its loss with `sempair show RUN`";
    check(
        refused(&[], &[detection(0.0, 0, 0.5), detection(0.0, 0, f32::NAN)]),
        &format!(
            "image 1: detection 1: score NaN and edges [0.0, 0.0, 10.0, 10.0] are not all finite numbers | {hint}"
        ),
    );
    check(
        refused(&[], &[edges([0.0, f32::NAN, 1.0, f32::INFINITY])]),
        &format!("image 1: detection 0: score 0.5 and edges [0.0, NaN, 1.0, inf] are not all finite numbers | {hint}"),
    );
    for score in [f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(refused(&[], &[detection(0.0, 0, score)]).kind(), ErrorKind::Diverged);
    }
    check(
        refused(&[], &[edges([2.0, 0.0, 1.0, 1.0])]),
        "image 1: detection 0: the edges [2.0, 0.0, 1.0, 1.0] (left, top, right, bottom) are not those of a box",
    );
    for wrong in [[0.0, 0.0, f32::INFINITY, 1.0], [f32::NAN, 0.0, 1.0, 1.0], [0.0, 2.0, 1.0, 1.0]] {
        let error = refused(&[object(0.0, 0), GroundTruth { edges: wrong, ..object(0.0, 0) }], &[]);
        assert!(error.what().starts_with("image 1: object 1: the edges"), "{error}");
    }
    check(refused(&[object(0.0, 2)], &[]), "image 1: object 0: category 2, but there are 2 categories");
    check(refused(&[], &[detection(0.0, 7, 0.5)]), "image 1: detection 0: category 7, but there are 2 categories");

    let difficult = image(&[GroundTruth { difficult: true, ..object(0.0, 0) }], &[detection(0.0, 0, 0.5)]);
    for images in [vec![], vec![image(&[], &[detection(0.0, 0, 0.5)])], vec![difficult]] {
        let error = Marks::new(&images, 2, Matching::Voc).unwrap_err();
        check(error, &format!("none of {} images has an object that is not difficult", images.len()));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut stream = Key::root(9).stream();
    let mut random_image = || {
        let objects: Vec<GroundTruth> = (0..3).map(|i| object(stream.range(0.0, 60.0), i % 2)).collect();
        let near = |found: &GroundTruth| {
            let (left, score) = (found.edges[0] + stream.range(-4.0, 4.0), stream.uniform());
            detection(left, found.category, score)
        };
        let detections = objects.iter().chain(&objects).map(near).collect();
        DetectedImage { objects, detections }
    };
    let images: Vec<DetectedImage> = (0..60).map(|_| random_image()).collect();
    let on = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let marks = marks(&images, 2, Matching::Voc);
            let replicates = Replicates::new(&marks, Interpolation::ElevenPoints, 50, Key::root(0));
            (marks.result(Interpolation::ElevenPoints), marks, replicates)
        })
    };
    assert!(on(1).0.mean.ap > 5.0);
    assert_eq!(on(1), on(2));
}
