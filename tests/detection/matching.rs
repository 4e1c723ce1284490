//! Labels of boxes, and samples of them.

use std::collections::BTreeSet;

use sempair::detection::Label::{Ignored, Negative, Positive};
use sempair::detection::boxes::overlaps;
use sempair::detection::{Label, Matcher, Sampled, Sampler};

use super::*;

// torchvision 0.29.2: Matcher(0.7, 0.3, allow_low_quality_matches=True)(overlaps), and a comparison with 0.5.
// Box 6 is positive as the best of object 2, but object 1 has the same IoU with it and comes first.
#[test]
fn labels_agree_with_torchvision() {
    let overlaps = [
        [0.1, 0.7, 0.65, 0.0, 0.2, 0.3, 0.05],
        [0.2, 0.6, 0.2, 0.0, 0.2, 0.1, 0.28],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.28],
    ];
    assert_eq!(
        Matcher::FIRST_STAGE.label_by_overlaps(overlaps.as_flattened(), 7),
        [Negative, Positive(0), Ignored, Negative, Negative, Ignored, Positive(1)]
    );
    assert_eq!(
        Matcher::SECOND_STAGE.label_by_overlaps(overlaps.as_flattened(), 7),
        [Negative, Positive(0), Positive(0), Negative, Negative, Negative, Negative]
    );
}

/// The label of one box, by the rules as they are stated.
fn defined(matcher: &Matcher, overlaps: &[Vec<f32>], at: usize) -> Label {
    let with = |object: usize| overlaps[object][at];
    let objects = 0..overlaps.len();
    let Some(best) = objects.clone().rev().max_by(|&a, &b| with(a).total_cmp(&with(b))) else {
        return Negative;
    };
    let is_best_of = |object: usize| with(object) > 0.0 && overlaps[object].iter().all(|&other| other <= with(object));
    if with(best) >= matcher.positive_from || matcher.best_are_positive && objects.clone().any(is_best_of) {
        Positive(best)
    } else if with(best) < matcher.negative_below {
        Negative
    } else {
        Ignored
    }
}

#[test]
fn labels_are_those_of_the_definition() {
    let mut stream = stream(4);
    for _ in 0..1_000 {
        let (objects, boxes) = (stream.below(4), stream.below(7));
        // Tenths, so that many are equal, and equal to thresholds.
        let mut row = || (0..boxes).map(|_| stream.below(9) as f32 / 10.0).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = (0..objects).map(|_| row()).collect();
        for matcher in [Matcher::FIRST_STAGE, Matcher::SECOND_STAGE] {
            let ours = matcher.label_by_overlaps(&rows.concat(), boxes);
            let defined: Vec<Label> = (0..boxes).map(|at| defined(&matcher, &rows, at)).collect();
            assert_eq!(ours, defined, "{rows:?}");
        }
    }
}

#[test]
fn every_object_that_meets_an_anchor_has_one_and_no_other_object_has() {
    let anchors: Vec<Edges> = (0..4).map(|i| [10.0 * i as f32, 0.0, 10.0 * i as f32 + 10.0, 10.0]).collect();
    // The first is small, the second meets two anchors equally, the third lies outside, the last is an anchor.
    let objects = [[1.0, 1.0, 3.0, 3.0], [18.0, 0.0, 22.0, 10.0], [90.0, 90.0, 95.0, 95.0], [30.0, 0.0, 40.0, 10.0]];
    let labels = Matcher::FIRST_STAGE.label(&anchors, &objects);
    assert_eq!(labels, [Positive(0), Positive(1), Positive(1), Positive(3)]);
    assert_eq!(labels, Matcher::FIRST_STAGE.label_by_overlaps(&overlaps(&objects, &anchors), 4));
    assert_eq!(Matcher::SECOND_STAGE.label(&anchors, &objects), [Negative, Negative, Negative, Positive(3)]);
    assert_eq!(Matcher::FIRST_STAGE.label(&anchors, &objects[2..3]), [Negative; 4]);
    assert_eq!(Matcher::FIRST_STAGE.label(&anchors, &[]), [Negative; 4]);
    assert_eq!(Matcher::FIRST_STAGE.label(&[], &objects), []);
    let nothing = [[f32::NAN; 4], [30.0, 0.0, f32::NAN, 10.0]];
    assert_eq!(Matcher::FIRST_STAGE.label(&anchors, &nothing), [Negative; 4]);
}

#[test]
#[should_panic(expected = "label: 5 overlaps of 3 boxes")]
fn overlaps_that_are_no_rows_of_boxes_are_refused() {
    Matcher::FIRST_STAGE.label_by_overlaps(&[0.0; 5], 3);
}

/// Labels of `positives`, `negatives` and `ignored` boxes, mixed. Box i has the object i + 1.
fn labels(positives: usize, negatives: usize, ignored: usize) -> Vec<Label> {
    let kinds = [vec![Positive(0); positives], vec![Negative; negatives], vec![Ignored; ignored]];
    let mut labels = kinds.concat();
    stream(5).shuffle(&mut labels);
    let numbered = labels.iter().enumerate();
    numbered.map(|(i, &label)| if label == Positive(0) { Positive(i + 1) } else { label }).collect()
}

fn counts(sample: &[Sampled]) -> (usize, usize) {
    let positives = sample.iter().filter(|sampled| sampled.object.is_some()).count();
    (positives, sample.len() - positives)
}

#[test]
fn a_sample_has_up_to_a_share_of_positives_and_the_rest_negatives() {
    let sampler = |count, positive_fraction| Sampler { count, positive_fraction };
    let cases = [
        (sampler(64, 0.5), (200, 200, 9), (32, 32)),
        (sampler(64, 0.5), (5, 200, 9), (5, 59)),
        (sampler(64, 0.5), (200, 3, 9), (32, 3)),
        (sampler(64, 0.25), (30, 200, 0), (16, 48)),
        (sampler(7, 0.5), (30, 200, 0), (3, 4)),
        (sampler(64, 0.5), (2, 3, 9), (2, 3)),
        (sampler(64, 0.5), (0, 0, 9), (0, 0)),
        (sampler(0, 0.5), (9, 9, 9), (0, 0)),
        (sampler(8, 0.0), (9, 9, 9), (0, 8)),
        (sampler(8, -1.0), (9, 9, 9), (0, 8)),
        (sampler(8, f32::NAN), (9, 9, 9), (0, 8)),
        (sampler(8, 5.0), (9, 9, 9), (8, 0)),
    ];
    for (sampler, (positives, negatives, ignored), expected) in cases {
        let labels = labels(positives, negatives, ignored);
        let sample = sampler.sample(&labels, Key::root(6));
        assert_eq!(counts(&sample), expected, "{sampler:?}");
        let first_negative = sample.iter().position(|sampled| sampled.object.is_none()).unwrap_or(sample.len());
        assert_eq!(first_negative, expected.0, "positives come first");
        let of_label = |sampled: &Sampled| match sampled.object {
            Some(object) => labels[sampled.index] == Positive(object),
            None => labels[sampled.index] == Negative,
        };
        assert!(sample.iter().all(of_label), "{sample:?}");
        let distinct: BTreeSet<usize> = sample.iter().map(|sampled| sampled.index).collect();
        assert_eq!(distinct.len(), sample.len());
    }
    assert_eq!(sampler(8, 0.5).sample(&[], Key::root(6)), []);
}

#[test]
fn a_sample_depends_on_its_key_and_every_box_is_drawn_equally_often() {
    let (labels, sampler) = (labels(10, 20, 5), Sampler { count: 8, positive_fraction: 0.5 });
    let sample = |draw: u64| sampler.sample(&labels, Key::root(7).at(draw));
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
    let mut drawn = vec![0; labels.len()];
    (0..5_000).for_each(|draw| sample(draw).iter().for_each(|sampled| drawn[sampled.index] += 1));
    for (label, &drawn) in labels.iter().zip(&drawn) {
        // The deviation is 35 of 2,000 positives and 28 of 1,000 negatives.
        let expected = match label {
            Positive(_) => 1_850..2_150,
            Negative => 880..1_120,
            Ignored => 0..1,
        };
        assert!(expected.contains(&drawn), "{label:?}: {drawn}");
    }
}
