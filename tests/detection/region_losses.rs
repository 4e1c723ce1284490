//! The losses of the second stage.

use dfdx::prelude::Axis;
use sempair::detection::Coder;
use sempair::detection::losses::{ObjectTarget, region_boxes, region_classes};

use super::*;

type Targets = Vec<Option<ObjectTarget>>;

/// Regions of these classes, of which `background` is the last; the deltas are 0.
fn of_classes(classes: &[usize], background: usize) -> Targets {
    classes.iter().map(|&class| (class < background).then_some(ObjectTarget { class, deltas: [0.0; 4] })).collect()
}

// torch 2.15.0: F.cross_entropy(logits, torch.tensor([0, 3, 1])) and its gradient, f64
#[test]
fn cross_entropy_agrees_with_torch() {
    let logits = [[2.0, -1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [100.0, 0.0, -100.0, 3.0]];
    let gradient = [
        [-0.096633359, 0.011784598, 0.052814903, 0.032033858],
        [0.083333333, 0.083333333, 0.083333333, -0.25],
        [0.333333333, -0.333333333, 0.0, 0.0],
    ];
    let ours = region_classes(logits.as_flattened(), &of_classes(&[0, 3, 1], 3));
    assert_near(ours.value, 33.9095479811699, 1e-12, "value");
    assert_printed(&ours, 33.9095479811699, gradient.as_flattened());
}

// torch 2.15.0, torchvision 0.29.2, f64, three classes and the background:
// cls = F.cross_entropy(logits, classes); fg = classes < 3
// goal = BoxCoder((10.0, 10.0, 5.0, 5.0)).encode_single(matched, proposals)
// picked = deltas.view(4, 3, 4)[fg.nonzero()[:, 0], classes[fg]]
// loc = (picked - goal[fg]).abs().sum() / 4; (cls + loc).backward()
#[test]
fn the_second_stage_agrees_with_torch() {
    let logits = [[0.2, 1.0, -0.3, 0.5], [0.0, 0.4, 0.1, 2.0], [1.2, -0.2, 0.3, 0.3], [0.1, 0.2, 0.3, 0.4]];
    let deltas = [
        [-0.1, -0.07, -0.04, -0.01, 0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.23],
        [0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.21, 0.24, 0.27, 0.3, 0.33],
        [0.1, 0.13, 0.16, 0.19, 0.22, 0.25, 0.28, 0.31, 0.34, 0.37, 0.4, 0.43],
        [0.2, 0.23, 0.26, 0.29, 0.32, 0.35, 0.38, 0.41, 0.44, 0.47, 0.5, 0.53],
    ];
    let object =
        |class, proposal, object| Some(ObjectTarget { class, deltas: Coder::SECOND_STAGE.encode(proposal, object) });
    let targets = [
        object(1, [0.0, 0.0, 20.0, 30.0], [2.0, 1.0, 24.0, 28.0]),
        None,
        object(0, [10.0, 10.0, 42.0, 26.0], [8.0, 12.0, 40.0, 30.0]),
        None,
    ];
    let of_logits = [
        [0.048244569, -0.142629736, 0.02926181, 0.065123357],
        [0.022756128, 0.033948154, 0.025149411, -0.081853693],
        [-0.128625239, 0.029930648, 0.049347295, 0.049347295],
        [0.053459555, 0.059081946, 0.065295648, -0.177837149],
    ];
    let mut of_deltas = [[0.0; 12]; 4];
    of_deltas[0][4..8].copy_from_slice(&[-0.25, 0.25, -0.25, 0.25]);
    of_deltas[2][..4].copy_from_slice(&[0.25, -0.25, 0.25, -0.25]);
    let ours = region_classes(logits.as_flattened(), &targets);
    assert_printed(&ours, 0.8017293946664322, of_logits.as_flattened());
    let ours = region_boxes(deltas.as_flattened(), &targets, 0.0);
    assert_printed(&ours, 1.439733830564835, of_deltas.as_flattened());
}

/// Targets of which about half have an object of one of the classes. Expected deltas are multiples of 1/8.
fn drawn(stream: &mut Stream, regions: usize, classes: usize) -> Targets {
    let mut object = || {
        let deltas = [(); 4].map(|()| stream.below(17) as f32 / 8.0 - 1.0);
        stream.chance(0.5).then(|| ObjectTarget { class: stream.below(classes), deltas })
    };
    (0..regions).map(|_| object()).collect()
}

fn check_classes<const COLUMNS: usize>(stream: &mut Stream, regions: usize) {
    let targets = drawn(stream, regions, COLUMNS - 1);
    let logits: Vec<f32> = (0..regions * COLUMNS).map(|_| 3.0 * stream.normal()).collect();
    let mut right = vec![[0.0; COLUMNS]; regions];
    let class = |target: &Option<ObjectTarget>| target.map_or(COLUMNS - 1, |target| target.class);
    right.iter_mut().zip(&targets).for_each(|(row, target)| row[class(target)] = 1.0);
    let right = tensor::<COLUMNS>(right.as_flattened());
    let definition =
        |z: Taped<Vectors<COLUMNS>>| (z.log_softmax::<Axis<1>>() * right).sum::<Rank0, _>() / -(regions as f64);
    let what = format!("{regions} regions, {COLUMNS} columns");
    assert_defined(&region_classes(&logits, &targets), &logits, definition, &what);
    assert_slope(&logits, |z| region_classes(z, &targets), &what);
}

#[test]
fn the_loss_of_region_classes_is_its_definition() {
    let mut stream = stream(12);
    check_classes::<2>(&mut stream, 1);
    check_classes::<4>(&mut stream, 9);
    check_classes::<21>(&mut stream, 5);
}

fn check_boxes<const COLUMNS: usize>(stream: &mut Stream, regions: usize, beta: f32) {
    let targets = drawn(stream, regions, COLUMNS / 4);
    // No kink is near: the distance from each expected delta is an odd multiple of 1/16.
    let deltas: Vec<f32> = (0..regions * COLUMNS).map(|_| stream.below(17) as f32 / 8.0 - 15.0 / 16.0).collect();
    let (mut expected, mut is_own) = (vec![[0.0; COLUMNS]; regions], vec![[0.0; COLUMNS]; regions]);
    for (row, target) in targets.iter().enumerate() {
        if let Some(ObjectTarget { class, deltas }) = target {
            expected[row][4 * class..][..4].copy_from_slice(deltas);
            is_own[row][4 * class..][..4].fill(1.0);
        }
    }
    let [expected, is_own] = [expected, is_own].map(|rows| tensor::<COLUMNS>(rows.as_flattened()));
    let definition =
        |d: Taped<Vectors<COLUMNS>>| (smooth_l1(d, expected, beta) * is_own).sum::<Rank0, _>() / regions as f64;
    let what = format!("{regions} regions, {COLUMNS} columns, beta {beta}");
    assert_defined(&region_boxes(&deltas, &targets, beta), &deltas, definition, &what);
    assert_slope(&deltas, |d| region_boxes(d, &targets, beta), &what);
}

#[test]
fn the_loss_of_region_boxes_is_its_definition() {
    let mut stream = stream(13);
    check_boxes::<4>(&mut stream, 1, 0.0);
    check_boxes::<12>(&mut stream, 9, 0.0);
    check_boxes::<80>(&mut stream, 7, 0.0);
    check_boxes::<12>(&mut stream, 9, 0.25);
}

#[test]
fn no_regions_have_no_loss_and_hostile_logits_are_not_hidden() {
    let nothing = LossAndGrad { value: 0.0, gradient: vec![] };
    assert_eq!((region_classes(&[], &[]), region_boxes(&[], &[], 0.0)), (nothing.clone(), nothing));
    let of_background = region_boxes(&[f32::NAN; 16], &[None, None], 0.0);
    assert_eq!((of_background.value, of_background.gradient), (0.0, vec![0.0; 16]));
    let certain = region_classes(&[-f32::MAX, f32::MAX, f32::MAX, -f32::MAX], &[None, None]);
    assert_eq!(certain.value, f64::from(f32::MAX));
    assert_eq!(certain.gradient, [0.0, 0.0, 0.5, -0.5]);
    for logit in [f32::NAN, f32::INFINITY] {
        assert!(region_classes(&[logit, 0.0], &[None]).value.is_nan());
    }
}

#[test]
#[should_panic(expected = "detection loss: class 3 of 3")]
fn the_background_is_not_the_class_of_an_object() {
    region_classes(&[0.0; 4], &[Some(ObjectTarget { class: 3, deltas: [0.0; 4] })]);
}

#[test]
#[should_panic(expected = "detection loss: 12 predictions of 2 regions")]
fn deltas_that_are_not_four_for_each_class_are_refused() {
    region_boxes(&[0.0; 12], &of_classes(&[0, 0], 1), 0.0);
}
