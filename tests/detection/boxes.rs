//! Overlap, place and coding of boxes.

#![expect(clippy::approx_constant, reason = "numbers as torchvision prints them")]

use sempair::detection::boxes::{area, clip, iou, is_empty, overlaps, scale};
use sempair::detection::{Coder, Edges};

use super::*;

// torchvision 0.29.2: box_iou(a, b) in f64. It gives NaN for two empty boxes, where detectron2 gives 0.
#[test]
fn overlaps_agree_with_torchvision() {
    let a = [
        [0.0, 0.0, 10.0, 10.0],
        [5.0, 5.0, 15.0, 15.0],
        [0.0, 0.0, 10.0, 5.0],
        [3.0, 3.0, 3.0, 9.0],
        [-4.0, 2.0, 6.0, 8.0],
    ];
    let b = [[0.0, 0.0, 10.0, 10.0], [10.0, 10.0, 20.0, 20.0], [2.0, 2.0, 8.0, 8.0], [3.0, 3.0, 3.0, 9.0]];
    let expected = [
        [1.0, 0.0, 0.36, 0.0],
        [0.142857143, 0.142857143, 0.070866142, 0.0],
        [0.5, 0.0, 0.264705882, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.290322581, 0.0, 0.333333333, 0.0],
    ];
    let ours = overlaps(&a, &b);
    assert_eq!(ours.len(), 20);
    for (&ours, &expected) in ours.iter().zip(expected.as_flattened()) {
        assert_near(ours, expected, PRINTED + EPS, "IoU");
    }
    assert_eq!((overlaps(&[], &b), overlaps(&a, &[])), (vec![], vec![]));
}

#[test]
fn overlap_is_a_quotient_of_numbers_of_pixels() {
    let mut stream = stream(1);
    for _ in 0..2_000 {
        let [a, b] = [(); 2].map(|()| whole_box(&mut stream, 8));
        let has = |[x1, y1, x2, y2]: Edges, x: f32, y: f32| x1 <= x && x < x2 && y1 <= y && y < y2;
        let pixels = || (0..8).flat_map(|y| (0..8).map(move |x| (x as f32, y as f32)));
        let in_both = pixels().filter(|&(x, y)| has(a, x, y) && has(b, x, y)).count();
        let in_either = pixels().filter(|&(x, y)| has(a, x, y) || has(b, x, y)).count();
        let in_a = pixels().filter(|&(x, y)| has(a, x, y)).count();
        assert_eq!((area(a), is_empty(a)), (in_a as f32, in_a == 0), "{a:?}");
        assert_eq!(iou(a, b), in_both as f32 / in_either.max(1) as f32, "{a:?} {b:?}");
        assert_eq!(iou(a, b), iou(b, a));
    }
}

/// Boxes that are no boxes: inverted, infinite or not a number.
#[test]
fn an_overlap_with_what_is_no_box_is_never_above_a_threshold() {
    let good = [0.0, 0.0, 10.0, 10.0];
    let (nan, infinite) = (f32::NAN, f32::INFINITY);
    let bad = [
        [8.0, 8.0, 2.0, 2.0],
        [8.0, 2.0, 2.0, 8.0],
        [nan, 0.0, 10.0, 10.0],
        [0.0, 0.0, 10.0, nan],
        [nan; 4],
        [-infinite, -infinite, infinite, infinite],
        [infinite; 4],
    ];
    for bad in bad {
        for pair in [iou(good, bad), iou(bad, good), iou(bad, bad)] {
            assert!(pair.is_nan() || pair == 0.0, "{bad:?}: {pair}");
        }
    }
    assert!([[8.0, 8.0, 2.0, 2.0], [nan; 4], [0.0, 0.0, 10.0, nan], [1.0, 1.0, 1.0, 5.0]].map(is_empty) == [true; 4]);
}

#[test]
fn boxes_follow_their_image() {
    // torchvision 0.29.2: clip_boxes_to_image(boxes, (64, 96))
    assert_eq!(clip([-530.0, -450.0, 470.0, 550.0], (64, 96)), [0.0, 0.0, 96.0, 64.0]);
    assert!(is_empty(clip([100.0, 3.0, 120.0, 9.0], (64, 96))));
    assert!(clip([f32::NAN, 3.0, 120.0, 9.0], (64, 96))[0].is_nan());
    // Height and width are scaled by different factors, if rounded.
    assert_eq!(scale([50.0, 75.0, 500.0, 375.0], (375, 500), (800, 1067)), [106.7, 160.0, 1067.0, 800.0]);
    let mut stream = stream(2);
    for _ in 0..500 {
        let edges = whole_box(&mut stream, 30);
        let size = (20, 20);
        let clipped = clip(edges, size);
        assert_eq!(clip(clipped, size), clipped);
        assert!(area(clipped) <= area(edges));
        assert_eq!(scale(scale(edges, size, (60, 80)), (60, 80), size), edges);
        assert_eq!(area(scale(edges, size, (60, 80))), 12.0 * area(edges));
    }
}

/// Boxes and how torchvision's `BoxCoder(weights)` codes them.
struct Coded {
    coder: Coder,
    /// `encode_single(TARGETS, SOURCES)`
    deltas: [[f64; 4]; 4],
    /// `decode_single(WILD, SOURCES)`
    moved: [[f64; 4]; 4],
    /// `clip_boxes_to_image(decoded, (64, 96))`
    clipped: [[f64; 4]; 4],
}

const SOURCES: [Edges; 4] =
    [[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 55.0, 25.0], [10.0, 10.0, 26.0, 26.0], [0.5, 1.5, 100.25, 64.75]];
const TARGETS: [Edges; 4] =
    [[1.0, 2.0, 13.0, 18.0], [0.0, 0.0, 60.0, 40.0], [10.0, 10.0, 26.0, 26.0], [4.0, 1.0, 90.0, 80.0]];
const WILD: [[f32; 4]; 4] =
    [[0.1, -0.2, 0.3, -0.4], [1.0, 1.0, 5.0, -9.0], [-3.0, 2.0, 100.0, 4.2], [0.0, 0.0, 0.0, 0.0]];

const CODED: [Coded; 2] = [
    Coded {
        coder: Coder::FIRST_STAGE,
        deltas: [
            [0.2, 0.0, 0.182321557, -0.223143551],
            [0.0, 0.25, 0.182321557, 0.693147181],
            [0.0, 0.0, 0.0, 0.0],
            [-0.033834586, 0.116600791, -0.14831976, 0.222352725],
        ],
        moved: [
            [-0.749294038, -0.70320046, 12.749294038, 12.70320046],
            [-1482.5, 34.998765902, 1642.5, 35.001234098],
            [-530.0, -450.0, 470.0, 550.0],
            [0.5, 1.5, 100.25, 64.75],
        ],
        clipped: [
            [0.0, 0.0, 12.749294038, 12.70320046],
            [0.0, 34.998765902, 96.0, 35.001234098],
            [0.0, 0.0, 96.0, 64.0],
            [0.5, 1.5, 96.0, 64.0],
        ],
    },
    Coded {
        coder: Coder::SECOND_STAGE,
        deltas: [
            [2.0, 0.0, 0.911607784, -1.115717757],
            [0.0, 2.5, 0.911607784, 3.465735903],
            [0.0, 0.0, 0.0, 0.0],
            [-0.338345865, 1.166007905, -0.741598798, 1.111763624],
        ],
        moved: [
            [-0.209182733, 0.368836536, 10.409182733, 18.831163464],
            [-32.957045711, 15.347011118, 102.957045711, 18.652988882],
            [-486.8, 2.669064186, 513.2, 39.730935814],
            [0.5, 1.5, 100.25, 64.75],
        ],
        clipped: [
            [0.0, 0.368836536, 10.409182733, 18.831163464],
            [0.0, 15.347011118, 96.0, 18.652988882],
            [0.0, 2.669064186, 96.0, 39.730935814],
            [0.5, 1.5, 96.0, 64.0],
        ],
    },
];

// torchvision 0.29.2, f64
#[test]
fn deltas_agree_with_torchvision() {
    for Coded { coder, deltas, moved, clipped } in &CODED {
        let encoded: [[f32; 4]; 4] = std::array::from_fn(|i| coder.encode(SOURCES[i], TARGETS[i]));
        for (&ours, &expected) in encoded.as_flattened().iter().zip(deltas.as_flattened()) {
            assert_near(ours, expected, PRINTED + EPS * expected.abs(), "encoded");
        }
        let decoded =
            |deltas: &[[f32; 4]; 4]| -> [Edges; 4] { std::array::from_fn(|i| coder.decode(SOURCES[i], deltas[i])) };
        assert_boxes(&decoded(&encoded), &TARGETS.map(|edges| edges.map(f64::from)), "decoded");
        assert_boxes(&decoded(&WILD), moved, "moved");
        assert_boxes(&decoded(&WILD).map(|edges| clip(edges, (64, 96))), clipped, "clipped");
    }
}

#[test]
fn decoding_undoes_encoding() {
    let mut stream = stream(3);
    for coder in [Coder::FIRST_STAGE, Coder::SECOND_STAGE] {
        for _ in 0..500 {
            let [source, target] = [(); 2].map(|()| any_box(&mut stream));
            assert_boxes(&[coder.decode(source, coder.encode(source, target))], &[target.map(f64::from)], "again");
        }
    }
}

#[test]
fn a_box_grows_at_most_to_what_its_formula_says_and_nan_is_not_hidden() {
    let coder = Coder::FIRST_STAGE;
    let unit = [0.0, 0.0, 1.0, 1.0];
    assert_boxes(&[coder.decode(unit, [0.0, 0.0, f32::INFINITY, 1e30])], &[[-30.75, -30.75, 31.75, 31.75]], "largest");
    // There is no smallest size.
    assert_eq!(coder.decode(unit, [0.0, 0.0, f32::NEG_INFINITY, -1e30]), [0.5, 0.5, 0.5, 0.5]);
    for at in 0..4 {
        let mut deltas = [0.0; 4];
        deltas[at] = f32::NAN;
        let moved = coder.decode(unit, deltas);
        let is_nan = moved.map(f32::is_nan);
        assert_eq!(is_nan, if at % 2 == 0 { [true, false, true, false] } else { [false, true, false, true] });
    }
}

#[test]
#[should_panic(expected = "encode: an empty box, source [0.0, 0.0, 1.0, 1.0], target [3.0, 3.0, 3.0, 9.0]")]
fn an_empty_target_has_no_deltas() {
    Coder::FIRST_STAGE.encode([0.0, 0.0, 1.0, 1.0], [3.0, 3.0, 3.0, 9.0]);
}
