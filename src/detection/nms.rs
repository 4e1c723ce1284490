//! Selection of boxes by their scores: the highest, and of boxes that overlap only the best one.

use super::boxes::Edges;
use super::boxes::iou;

/// The numbers of the `k` highest scores, from high to low; of equal scores the lower number comes first. NaN counts as
/// the lowest score.
pub fn top_k(scores: &[f32], k: usize) -> Vec<usize> {
    // The sum with 0 makes 0 of -0, which is equal to it.
    let score = |at: usize| if scores[at].is_nan() { f32::NEG_INFINITY } else { scores[at] + 0.0 };
    let before = |a: &usize, b: &usize| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if k < order.len() {
        order.select_nth_unstable_by(k, before);
        order.truncate(k);
    }
    order.sort_unstable_by(before);
    order
}

/// Greedy non-maximum suppression: the numbers of the boxes to keep, at most `limit`, in the order of [`top_k`].
///
/// In this order, a box is kept unless its IoU with a box that was kept before is above the threshold. An IoU of NaN is
/// not above it. Agrees with torchvision's `nms` in f32.
///
/// # Panics
/// When there is not one score for each box.
pub fn nms(boxes: &[Edges], scores: &[f32], threshold: f32, limit: usize) -> Vec<usize> {
    suppress(boxes, scores, |_, _| true, threshold, limit)
}

/// [`nms`] in which only boxes of the same class suppress each other. The result is that of `nms` on each class alone,
/// merged in the order of [`top_k`].
///
/// # Panics
/// When there is not one score and one class for each box.
pub fn nms_by_class(boxes: &[Edges], scores: &[f32], classes: &[usize], threshold: f32, limit: usize) -> Vec<usize> {
    assert!(classes.len() == boxes.len(), "nms_by_class: {} boxes, {} classes", boxes.len(), classes.len());
    suppress(boxes, scores, |a, b| classes[a] == classes[b], threshold, limit)
}

/// `nms` in which only boxes that are rivals suppress each other.
fn suppress(
    boxes: &[Edges],
    scores: &[f32],
    are_rivals: impl Fn(usize, usize) -> bool,
    threshold: f32,
    limit: usize,
) -> Vec<usize> {
    assert!(scores.len() == boxes.len(), "nms: {} boxes, {} scores", boxes.len(), scores.len());
    // The edges lie next to each other: with thousands of boxes, these comparisons are all the work.
    let mut kept: Vec<(usize, Edges)> = Vec::new();
    for at in top_k(scores, scores.len()) {
        if kept.len() == limit {
            break;
        }
        let suppresses = |&(other, edges): &(usize, Edges)| are_rivals(other, at) && iou(edges, boxes[at]) > threshold;
        if !kept.iter().any(suppresses) {
            kept.push((at, boxes[at]));
        }
    }
    kept.into_iter().map(|(at, _)| at).collect()
}
