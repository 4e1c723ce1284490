//! Marks and average precision against plain definitions, over random boxes with ties, duplicates, difficult objects
//! and empty images.

use proptest::prelude::*;
use sempair::eval::DetectedImage;
use sempair::eval::Detection;
use sempair::eval::GroundTruth;
use sempair::eval::Interpolation;
use sempair::eval::Mark;
use sempair::eval::Marks;
use sempair::eval::Matching;
use sempair::eval::THRESHOLDS;

const CATEGORIES: usize = 2;

/// The thresholds of `COCOeval`: `np.linspace(0.5, 0.95, 10)`.
const COCO_THRESHOLDS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95];

#[derive(Clone, Copy)]
struct Item {
    image: usize,
    edges: [f64; 4],
    /// Of a detection.
    score: f64,
    /// Of an object.
    difficult: bool,
    taken: bool,
}

/// The objects and the detections of one category, images one after the other. `inclusive` is 1 for the printed form.
struct Listed {
    objects: Vec<Item>,
    detections: Vec<Item>,
    inclusive: f64,
}

/// A multiple of 2^-20, rounded to so many decimals in whole numbers, halves to even.
fn rounded(value: f32, decimals: u32) -> f64 {
    let (one, power) = (1i64 << 20, 10i64.pow(decimals));
    let scaled = (f64::from(value) * one as f64) as i64 * power;
    let (below, rest) = (scaled.div_euclid(one), scaled.rem_euclid(one));
    let up = 2 * rest > one || (2 * rest == one && below % 2 != 0);
    (below + i64::from(up)) as f64 / power as f64
}

fn listed(images: &[DetectedImage], category: usize, printed: bool) -> Listed {
    let shift = |[left, top, right, bottom]: [f32; 4]| {
        if printed { [left + 1.0, top + 1.0, right, bottom] } else { [left, top, right, bottom] }
    };
    let number = |value: f32, decimals: u32| if printed { rounded(value, decimals) } else { f64::from(value) };
    let (mut objects, mut detections) = (Vec::new(), Vec::new());
    for (image, DetectedImage { objects: of, detections: found }) in images.iter().enumerate() {
        for one in of.iter().filter(|one| one.category as usize == category) {
            let edges = shift(one.edges).map(f64::from);
            objects.push(Item { image, edges, score: 0.0, difficult: one.difficult, taken: false });
        }
        for one in found.iter().filter(|one| one.category as usize == category) {
            let edges = shift(one.edges).map(|edge| number(edge, 1));
            detections.push(Item { image, edges, score: number(one.score, 3), difficult: false, taken: false });
        }
    }
    detections.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
    Listed { objects, detections, inclusive: if printed { 1.0 } else { 0.0 } }
}

fn intersection(a: &Item, b: &Item, inclusive: f64) -> f64 {
    let side =
        |low: usize| (a.edges[low + 2].min(b.edges[low + 2]) - a.edges[low].max(b.edges[low]) + inclusive).max(0.0);
    side(0) * side(1)
}

fn area(a: &Item, inclusive: f64) -> f64 {
    (a.edges[2] - a.edges[0] + inclusive) * (a.edges[3] - a.edges[1] + inclusive)
}

fn iou(a: &Item, b: &Item, inclusive: f64) -> f64 {
    let both = intersection(a, b, inclusive);
    both / (area(a, inclusive) + area(b, inclusive) - both)
}

/// VOC: walks down the list; the best object first, then whether it counts and is free.
fn voc_marks(mut listed: Listed, threshold: f64) -> Vec<Mark> {
    let mut marks = Vec::new();
    for one in &listed.detections {
        let (mut best, mut highest) = (None, threshold);
        for object in listed.objects.iter_mut().filter(|object| object.image == one.image) {
            let overlap = iou(one, object, listed.inclusive);
            if overlap > highest {
                (best, highest) = (Some(object), overlap);
            }
        }
        marks.push(match best {
            None => Mark::False,
            Some(object) if object.difficult => Mark::Ignored,
            Some(object) if object.taken => Mark::False,
            Some(object) => {
                object.taken = true;
                Mark::Hit
            }
        });
    }
    marks
}

/// COCO: one loop over the objects, those that count first; it ends when one is found and only crowds are left.
fn coco_marks(mut listed: Listed, threshold: f64) -> Vec<Mark> {
    let mut marks = Vec::new();
    listed.objects.sort_by_key(|object| object.difficult);
    for one in &listed.detections {
        let (mut best, mut least): (Option<usize>, f64) = (None, threshold);
        for (at, object) in listed.objects.iter().enumerate().filter(|(_, object)| object.image == one.image) {
            if object.taken && !object.difficult {
                continue;
            }
            if best.is_some_and(|best| !listed.objects[best].difficult) && object.difficult {
                break;
            }
            let overlap =
                if object.difficult { intersection(one, object, 0.0) / area(one, 0.0) } else { iou(one, object, 0.0) };
            if overlap >= least {
                (best, least) = (Some(at), overlap);
            }
        }
        best.into_iter().for_each(|best| listed.objects[best].taken = true);
        marks.push(best.map_or(
            Mark::False,
            |best| {
                if listed.objects[best].difficult { Mark::Ignored } else { Mark::Hit }
            },
        ));
    }
    marks
}

/// Recall and precision after every detection.
fn points(marks: &[Mark], objects: usize) -> Vec<(f64, f64)> {
    let count = |until: usize, what: Mark| marks[..=until].iter().filter(|&&mark| mark == what).count() as f64;
    let point = |at: usize| {
        let (hits, falses) = (count(at, Mark::Hit), count(at, Mark::False));
        (hits / objects as f64, hits / (hits + falses).max(f64::EPSILON))
    };
    (0..marks.len()).map(point).collect()
}

fn average(points: &[(f64, f64)], interpolation: Interpolation) -> f64 {
    let best_from =
        |recall: f64| points.iter().filter(|point| point.0 >= recall).map(|point| point.1).fold(0.0, f64::max);
    match interpolation {
        Interpolation::ElevenPoints => (0..11).map(|k| best_from(f64::from(k) * 0.1)).sum::<f64>() / 11.0,
        Interpolation::HundredOnePoints => (0..101).map(|k| best_from(f64::from(k) * 0.01)).sum::<f64>() / 101.0,
        Interpolation::Area => {
            let all = [&[(0.0, 0.0)], points, &[(1.0, 0.0)]].concat();
            all.windows(2).map(|pair| (pair[1].0 - pair[0].0) * best_from(pair[1].0)).sum()
        }
    }
}

/// Boxes of few sizes on few places, so that IoUs are often equal to each other and to thresholds. The detections'
/// numbers are multiples of 1 / `parts`.
fn images(parts: u8) -> impl Strategy<Value = Vec<DetectedImage>> {
    let whole = || {
        let sizes = (0..3u8, 0..2u8, 1..5u8, 1..4u8);
        sizes.prop_map(|(left, top, width, height)| [left, top, left + width, top + height].map(f32::from))
    };
    let category = 0..CATEGORIES as u32;
    let object = (whole(), category.clone(), prop::bool::weighted(0.25))
        .prop_map(|(edges, category, difficult)| GroundTruth { edges, category, difficult });
    let part = move |count: u8| f32::from(count) / f32::from(parts);
    let moved = (whole(), [0..parts, 0..parts, 0..parts, 0..parts])
        .prop_map(move |(edges, parts)| std::array::from_fn(|i| edges[i] + part(parts[i])));
    let detection = (moved, category, 0..=4 * parts).prop_map(move |(edges, category, score)| Detection {
        edges,
        category,
        score: part(score) / 4.0,
    });
    let image = (prop::collection::vec(object, 0..7), prop::collection::vec(detection, 0..20));
    let image = image.prop_map(|(objects, detections)| DetectedImage { objects, detections });
    prop::collection::vec(image, 0..5)
}

/// Compares all marks and averages with the definitions.
fn agrees(images: &[DetectedImage], matching: Matching) -> Result<(), TestCaseError> {
    let printed = matching == Matching::VocPrinted;
    let counted = |category: usize| {
        let objects = images.iter().flat_map(|image| &image.objects);
        objects.filter(|object| object.category as usize == category && !object.difficult).count()
    };
    let marks = Marks::new(images, CATEGORIES, matching);
    if (0..CATEGORIES).map(counted).sum::<usize>() == 0 {
        prop_assert!(marks.is_err());
        return Ok(());
    }
    let marks = marks.unwrap();
    for interpolation in [Interpolation::ElevenPoints, Interpolation::HundredOnePoints, Interpolation::Area] {
        let result = marks.result(interpolation);
        let mut expected = Vec::new();
        for category in 0..CATEGORIES {
            let mut averages = Vec::new();
            for (at, percent) in THRESHOLDS.into_iter().enumerate() {
                let listed = listed(images, category, printed);
                let expected = match matching {
                    Matching::Coco => coco_marks(listed, COCO_THRESHOLDS[at]),
                    Matching::Voc | Matching::VocPrinted => voc_marks(listed, f64::from(percent) / 100.0),
                };
                prop_assert_eq!(marks.of(category, percent), &expected, "category {}, {} %", category, percent);
                averages.push(100.0 * average(&points(&expected, counted(category)), interpolation));
            }
            let ours = result.categories[category].average_precision;
            prop_assert_eq!(ours.is_some(), counted(category) > 0);
            if let Some(ours) = ours {
                let theirs = [averages[0], averages.iter().sum::<f64>() / 10.0, averages[5]];
                let pairs = [ours.ap50, ours.ap, ours.ap75].into_iter().zip(theirs);
                prop_assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-9), "{:?}, {:?}", ours, theirs);
                expected.push(theirs[1]);
            }
        }
        prop_assert!((result.mean.ap - expected.iter().sum::<f64>() / expected.len() as f64).abs() < 1e-9);
    }
    Ok(())
}

proptest! {
    #[test]
    fn voc_is_its_definition(images in images(1)) {
        agrees(&images, Matching::Voc)?;
    }

    #[test]
    fn coco_is_its_definition(images in images(1)) {
        agrees(&images, Matching::Coco)?;
    }

    // Sixteenths: many lie halfway between two tenths (edges) or two thousandths (scores).
    #[test]
    fn the_printed_form_is_its_definition(images in images(16)) {
        agrees(&images, Matching::VocPrinted)?;
    }
}
