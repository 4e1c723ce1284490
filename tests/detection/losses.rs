//! The losses of the first stage.

#![expect(clippy::approx_constant, reason = "numbers as torch prints them")]

use sempair::detection::Coder;
use sempair::detection::losses::{AnchorTarget, anchor_boxes, objectness};

use super::*;

/// An anchor with or without an object at this distance from its deltas.
fn target(at: usize, deltas: Option<[f32; 4]>) -> AnchorTarget {
    AnchorTarget { at, deltas }
}

// torch 2.15.0: F.binary_cross_entropy_with_logits(z, y, reduction="none") and its gradient, f64, 12 digits
#[test]
fn binary_cross_entropy_agrees_with_torch() {
    let logits = [-40.0, -2.0, -0.5, 0.0, 0.5, 2.0, 40.0];
    let negative = (
        [0.0, 0.126928011043, 0.47407698418, 0.69314718056, 0.97407698418, 2.12692801104, 40.0],
        [4.24835425529e-18, 0.119202922022, 0.377540668798, 0.5, 0.622459331202, 0.880797077978, 1.0],
    );
    let positive = (
        [40.0, 2.12692801104, 0.97407698418, 0.69314718056, 0.47407698418, 0.126928011043, 4.24835425529e-18],
        [-1.0, -0.880797077978, -0.622459331202, -0.5, -0.377540668798, -0.119202922022, 0.0],
    );
    for (deltas, (values, gradients)) in [(None, negative), (Some([0.0; 4]), positive)] {
        for ((z, value), gradient) in logits.into_iter().zip(values).zip(gradients) {
            let ours = objectness(&[z], &[target(0, deltas)], 1);
            assert_near(ours.value, value, 1e-11 * value + 1e-17, "value");
            assert_near(ours.gradient[0], gradient, EPS * gradient.abs() + 1e-17, "gradient");
        }
    }
}

#[test]
fn a_logit_that_is_right_beyond_doubt_still_has_a_loss_and_a_wrong_one_a_finite_loss() {
    for (sign, deltas) in [(1.0, None), (-1.0, Some([0.0; 4]))] {
        let loss = |z: f32| objectness(&[sign * z], &[target(0, deltas)], 1);
        let (right, tail) = (loss(-40.0), (-40.0_f64).exp());
        assert_near(right.value, tail, 1e-12 * tail, "value");
        assert_near(sign * right.gradient[0], tail, EPS * tail, "gradient");
        let wrong = loss(f32::MAX);
        assert_eq!((wrong.value, wrong.gradient[0]), (f32::MAX.into(), sign));
        assert_eq!((loss(-f32::MAX).value, loss(-f32::MAX).gradient[0]), (0.0, 0.0));
        assert!(loss(f32::NAN).value.is_nan());
    }
}

// torch 2.15.0: F.smooth_l1_loss(x, 0, beta=beta, reduction="none") and its gradient, |x| and its sign for beta = 0, f64
#[test]
fn smooth_l1_agrees_with_torch() {
    let differences = [-3.0, -1.0, -0.5, -1.0 / 9.0, -0.05, 0.0, 0.05, 1.0 / 9.0, 0.5, 1.0, 3.0];
    let cases = [
        (
            0.0,
            [3.0, 1.0, 0.5, 0.111111111, 0.05, 0.0, 0.05, 0.111111111, 0.5, 1.0, 3.0],
            [-1.0, -1.0, -1.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        ),
        (
            1.0 / 9.0,
            [
                2.944444444,
                0.944444444,
                0.444444444,
                0.055555556,
                0.01125,
                0.0,
                0.01125,
                0.055555556,
                0.444444444,
                0.944444444,
                2.944444444,
            ],
            [-1.0, -1.0, -1.0, -1.0, -0.45, 0.0, 0.45, 1.0, 1.0, 1.0, 1.0],
        ),
        (
            1.0,
            [2.5, 0.5, 0.125, 0.00617284, 0.00125, 0.0, 0.00125, 0.00617284, 0.125, 0.5, 2.5],
            [-1.0, -1.0, -0.5, -0.111111111, -0.05, 0.0, 0.05, 0.111111111, 0.5, 1.0, 1.0],
        ),
    ];
    for (beta, values, gradients) in cases {
        for ((x, value), gradient) in differences.into_iter().zip(values).zip(gradients) {
            // The difference is in one delta; the others are as expected.
            let ours = anchor_boxes(&[1.0, 2.0, x, 3.0], &[target(0, Some([1.0, 2.0, 0.0, 3.0]))], beta, 1);
            assert_near(ours.value, value, PRINTED + EPS * value, &format!("{x}, beta {beta}"));
            assert_near(ours.gradient[2], gradient, PRINTED + EPS, &format!("{x}, beta {beta}"));
            assert_eq!([0, 1, 3].map(|at| ours.gradient[at]), [0.0; 3]);
        }
    }
}

/// Two images with six anchors each: 1 positive, 0 negative, -1 not sampled.
const LABELS: [[i32; 6]; 2] = [[1, 0, -1, 0, 1, -1], [0, 0, -1, -1, -1, 0]];
const ANCHORS: [Edges; 6] = [
    [0.0, 0.0, 16.0, 16.0],
    [8.0, 0.0, 24.0, 16.0],
    [0.0, 8.0, 16.0, 24.0],
    [8.0, 8.0, 24.0, 24.0],
    [0.0, 0.0, 32.0, 32.0],
    [16.0, 16.0, 48.0, 48.0],
];
/// The objects of the first three and of the last three anchors of the first image.
const OBJECTS: [Edges; 2] = [[1.0, 1.0, 15.0, 17.0], [2.0, 0.0, 30.0, 34.0]];

// torch 2.15.0, torchvision 0.29.2, f64, four samples an image:
// cls = F.binary_cross_entropy_with_logits(obj[lab >= 0], (lab[lab >= 0] == 1).double(), reduction="sum") / (4 * 2)
// target = torch.stack([BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(g, anchors) for g in matched])
// loc = (pred - target)[lab == 1].abs().sum() / (4 * 2); (cls + loc).backward()
#[test]
fn the_first_stage_agrees_with_torch() {
    let logits = [[0.3, -1.2, 5.0, 0.4, 1.5, -2.0], [0.1, 0.2, 9.0, 3.0, 0.0, -0.7]];
    let deltas = [
        [0.0, -0.05, -0.1, -0.15],
        [0.1, 0.05, 0.0, -0.05],
        [0.2, 0.15, 0.1, 0.05],
        [0.3, 0.25, 0.2, 0.15],
        [0.4, 0.35, 0.3, 0.25],
        [0.5, 0.45, 0.4, 0.35],
        [0.02, -0.03, -0.08, -0.13],
        [0.12, 0.07, 0.02, -0.03],
        [0.22, 0.17, 0.12, 0.07],
        [0.32, 0.27, 0.22, 0.17],
        [0.42, 0.37, 0.32, 0.27],
        [0.52, 0.47, 0.42, 0.37],
    ];
    let sampled = LABELS.as_flattened().iter().enumerate().filter(|(_, label)| **label >= 0);
    let targets: Vec<AnchorTarget> = sampled
        .map(|(at, &label)| {
            let deltas = || Coder::FIRST_STAGE.encode(ANCHORS[at % 6], OBJECTS[at % 6 / 3]);
            target(at, (label == 1).then(deltas))
        })
        .collect();
    let of_logits = [
        [-0.053194685, 0.028934402, 0.0, 0.074835958, -0.02280319, 0.0],
        [0.065622398, 0.06872925, 0.0, 0.0, 0.0, 0.041476528],
    ];
    let mut of_deltas = [[0.0; 4]; 12];
    of_deltas[0] = [0.0, -0.125, 0.125, -0.125];
    of_deltas[4] = [0.125; 4];
    assert_printed(&objectness(logits.as_flattened(), &targets, 8), 0.4847234775662355, of_logits.as_flattened());
    let ours = anchor_boxes(deltas.as_flattened(), &targets, 0.0, 8);
    assert_printed(&ours, 0.20471102042907632, of_deltas.as_flattened());
}

/// Targets for some of `anchors` anchors, every second one with an object. Expected deltas are multiples of 1/8.
fn drawn(stream: &mut Stream, anchors: usize) -> Vec<AnchorTarget> {
    let mut order = stream.permutation(anchors);
    order.truncate(anchors.div_ceil(2));
    let mut deltas = || [(); 4].map(|()| stream.below(17) as f32 / 8.0 - 1.0);
    order.into_iter().enumerate().map(|(i, at)| target(at, (i % 2 == 0).then(&mut deltas))).collect()
}

/// Deltas whose distance from every multiple of 1/8 is 1/16, so that no kink is near.
fn off_grid(stream: &mut Stream, anchors: usize) -> Vec<f32> {
    (0..4 * anchors).map(|_| stream.below(17) as f32 / 8.0 - 15.0 / 16.0).collect()
}

/// Numbers for each anchor: `sampled` for those that are targets, 0 for the others.
fn masked<const P: usize>(
    anchors: usize,
    targets: &[AnchorTarget],
    sampled: impl Fn(&AnchorTarget) -> [f32; P],
) -> Tensor<Vectors<P>, f64, Cpu> {
    let mut values = vec![[0.0; P]; anchors];
    targets.iter().for_each(|target| values[target.at] = sampled(target));
    tensor(values.as_flattened())
}

#[test]
fn objectness_is_its_definition() {
    let mut stream = stream(10);
    for anchors in [1, 2, 7, 60] {
        let targets = drawn(&mut stream, anchors);
        let logits: Vec<f32> = (0..anchors).map(|_| 3.0 * stream.normal()).collect();
        let is_sampled = masked(anchors, &targets, |_| [1.0]);
        let has_object = masked(anchors, &targets, |target| [if target.deltas.is_some() { 1.0 } else { 0.0 }]);
        let divisor = anchors + 3;
        let ours = objectness(&logits, &targets, divisor);
        let definition =
            |z: Taped<Vectors<1>>| (z.bce_with_logits(has_object) * is_sampled).sum::<Rank0, _>() / divisor as f64;
        assert_defined(&ours, &logits, definition, &format!("{anchors} anchors"));
        assert_slope(&logits, |z| objectness(z, &targets, divisor), &format!("{anchors} anchors"));
    }
}

#[test]
fn the_loss_of_anchor_boxes_is_its_definition() {
    let mut stream = stream(11);
    for (anchors, beta) in [(1, 0.0), (7, 0.0), (60, 0.0), (1, 0.25), (60, 0.25), (60, 1.0)] {
        let targets = drawn(&mut stream, anchors);
        let deltas = off_grid(&mut stream, anchors);
        let expected = masked(anchors, &targets, |target| target.deltas.unwrap_or_default());
        let has_object = masked(anchors, &targets, |target| [if target.deltas.is_some() { 1.0 } else { 0.0 }; 4]);
        let divisor = anchors + 3;
        let ours = anchor_boxes(&deltas, &targets, beta, divisor);
        let definition = |d: Taped<Vectors<4>>| {
            let distance = smooth_l1(d, expected, beta);
            (distance * has_object).sum::<Rank0, _>() / divisor as f64
        };
        let what = format!("{anchors} anchors, beta {beta}");
        assert_defined(&ours, &deltas, definition, &what);
        assert_slope(&deltas, |d| anchor_boxes(d, &targets, beta, divisor), &what);
    }
}

#[test]
fn anchors_that_were_not_sampled_have_no_gradient() {
    let (logits, deltas) = ([f32::NAN, 1.0, f32::INFINITY], [f32::NAN; 12]);
    let loss = objectness(&logits, &[target(1, None)], 4);
    assert!(loss.value.is_finite() && loss.gradient[0] == 0.0 && loss.gradient[2] == 0.0);
    let loss = anchor_boxes(&deltas, &[target(1, None)], 0.0, 4);
    assert_eq!((loss.value, loss.gradient), (0.0, vec![0.0; 12]));
    let nothing = objectness(&logits, &[], 4);
    assert_eq!((nothing.value, nothing.gradient), (0.0, vec![0.0; 3]));
    // What has diverged is not hidden.
    assert!(anchor_boxes(&deltas, &[target(1, Some([0.0; 4]))], 0.0, 4).value.is_nan());
}

#[test]
#[should_panic(expected = "detection loss: a division by 0")]
fn a_division_by_no_samples_is_refused() {
    objectness(&[], &[], 0);
}
