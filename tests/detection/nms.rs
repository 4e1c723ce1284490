//! Selection of boxes by score.

use sempair::detection::boxes::iou;
use sempair::detection::{nms, nms_by_class, top_k};

use super::*;

const BOXES: [Edges; 8] = [
    [0.0, 0.0, 10.0, 10.0],
    [1.0, 1.0, 11.0, 11.0],
    [0.0, 0.0, 10.0, 5.0],
    [20.0, 20.0, 30.0, 30.0],
    [20.0, 20.0, 30.0, 30.0],
    [21.0, 20.0, 31.0, 30.0],
    [5.0, 5.0, 5.0, 5.0],
    [0.0, 0.0, 10.0, 10.5],
];
const SCORES: [f32; 8] = [0.9, 0.95, 0.8, 0.7, 0.7, 0.7, 0.99, 0.1];
const ALL: usize = usize::MAX;

// torchvision 0.29.2 in f32: nms(boxes, scores, threshold), batched_nms(boxes, scores, classes, threshold)
#[test]
fn keeps_what_torchvision_keeps() {
    assert_eq!(nms(&BOXES, &SCORES, 0.3, ALL), [6, 1, 3]);
    assert_eq!(nms(&BOXES, &SCORES, 0.5, ALL), [6, 1, 2, 3]);
    assert_eq!(nms(&BOXES, &SCORES, 0.7, ALL), [6, 1, 0, 2, 3]);
    // An IoU that is equal to the threshold suppresses nothing.
    assert_eq!(nms(&[BOXES[0], BOXES[2]], &[0.9, 0.8], 0.5, ALL), [0, 1]);
    // Of equal scores the first comes first.
    let nested = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 8.0]];
    assert_eq!(nms(&nested, &[0.5; 3], 0.85, ALL), [0, 2]);
    // A suppressed box suppresses nothing.
    let chain = [[0.0, 0.0, 10.0, 10.0], [4.0, 0.0, 14.0, 10.0], [8.0, 0.0, 18.0, 10.0]];
    assert_eq!(nms(&chain, &[0.9, 0.8, 0.7], 0.4, ALL), [0, 2]);
    assert_eq!(nms_by_class(&BOXES, &SCORES, &[0, 0, 0, 1, 1, 0, 0, 1], 0.5, ALL), [6, 1, 2, 3, 5, 7]);
}

/// The numbers of these boxes by score, by a sort that keeps the order of equal scores.
fn sorted(mut numbers: Vec<usize>, scores: &[f32]) -> Vec<usize> {
    numbers.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
    numbers
}

/// Keep the first and strike all later ones that overlap it, until none is left.
fn struck(boxes: &[Edges], numbers: Vec<usize>, scores: &[f32], threshold: f32) -> Vec<usize> {
    let (mut rest, mut kept) = (sorted(numbers, scores), Vec::new());
    while !rest.is_empty() {
        let best = rest.remove(0);
        rest.retain(|&other| iou(boxes[best], boxes[other]) <= threshold);
        kept.push(best);
    }
    kept
}

#[test]
fn keeps_what_the_definition_keeps() {
    let mut stream = stream(8);
    for round in 0..300 {
        let count = stream.below(60);
        let boxes: Vec<Edges> = (0..count).map(|_| whole_box(&mut stream, 6)).collect();
        // Few different scores, so that many are equal.
        let scores: Vec<f32> = (0..count).map(|_| stream.below(12) as f32 / 4.0 - 1.0).collect();
        let classes: Vec<usize> = (0..count).map(|_| stream.below(3)).collect();
        for threshold in [0.0, 0.25, 0.5, 0.7] {
            let all = nms(&boxes, &scores, threshold, ALL);
            assert_eq!(all, struck(&boxes, (0..count).collect(), &scores, threshold), "round {round}");
            let limit = stream.below(count + 2);
            assert_eq!(nms(&boxes, &scores, threshold, limit), all[..limit.min(all.len())], "round {round}");

            let of_class = |class| (0..count).filter(|&at| classes[at] == class).collect();
            let mut merged = [0, 1, 2].map(|class| struck(&boxes, of_class(class), &scores, threshold)).concat();
            merged.sort_unstable();
            let merged = sorted(merged, &scores);
            assert_eq!(nms_by_class(&boxes, &scores, &classes, threshold, ALL), merged, "round {round}");
            let first = &merged[..limit.min(merged.len())];
            assert_eq!(nms_by_class(&boxes, &scores, &classes, threshold, limit), first, "round {round}");
        }
    }
}

#[test]
fn the_highest_scores_are_the_first_of_a_stable_sort() {
    let mut stream = stream(9);
    for _ in 0..500 {
        let count = stream.below(40);
        let scores: Vec<f32> = (0..count).map(|_| stream.below(9) as f32 - 4.0).collect();
        let all = sorted((0..count).collect(), &scores);
        for k in [0, 1, count / 2, count, count + 3] {
            assert_eq!(top_k(&scores, k), all[..k.min(count)], "{scores:?}");
        }
    }
    let (nan, infinite) = (f32::NAN, f32::INFINITY);
    assert_eq!(top_k(&[-0.0, nan, 0.0, -infinite, infinite, -nan, -0.0], 9), [4, 0, 2, 6, 1, 3, 5]);
    assert_eq!(top_k(&[-0.0, nan, 0.0, -infinite, infinite, -nan, -0.0], 2), [4, 0]);
}

#[test]
fn what_is_no_number_suppresses_nothing() {
    let (nan, good) = (f32::NAN, [0.0, 0.0, 10.0, 10.0]);
    let boxes = [[nan; 4], good, [0.0, 0.0, nan, 10.0], good, [0.0, 0.0, f32::INFINITY, f32::INFINITY]];
    assert_eq!(nms(&boxes, &[0.9, 0.8, 0.7, 0.6, 0.5], 0.5, ALL), [0, 1, 2, 4]);
    // A score that is no number comes last.
    assert_eq!(nms(&[good, good, [20.0, 0.0, 30.0, 10.0]], &[nan, -1.0, 0.5], 0.5, ALL), [2, 1]);
    assert_eq!(nms(&[], &[], 0.5, ALL), [0; 0]);
    assert_eq!(nms(&boxes, &[0.0; 5], 0.5, 0), [0; 0]);
    // No IoU is above the threshold, even that of equal boxes.
    assert_eq!(nms(&[good; 3], &[0.1, 0.2, 0.3], 1.0, ALL), [2, 1, 0]);
    assert_eq!(nms(&[good; 3], &[0.1, 0.2, 0.3], nan, ALL), [2, 1, 0]);
}

#[test]
#[should_panic(expected = "nms: 2 boxes, 1 scores")]
fn boxes_without_scores_are_refused() {
    nms(&BOXES[..2], &SCORES[..1], 0.5, ALL);
}

#[test]
#[should_panic(expected = "nms_by_class: 2 boxes, 3 classes")]
fn boxes_without_classes_are_refused() {
    nms_by_class(&BOXES[..2], &SCORES[..2], &[0, 1, 2], 0.5, ALL);
}
