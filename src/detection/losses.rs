//! The four losses of Faster R-CNN and their gradients: two of each stage, for classes and for boxes. The loss of a
//! step is their sum (detectron2's `RPN.losses` and `FastRCNNOutputLayers.losses`). Sums are in f64, in the order of the
//! targets.

use std::ops::Range;

use super::boxes::Deltas;

/// A loss and its gradient with respect to the predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct LossAndGrad {
    /// The loss.
    pub value: f64,
    /// The gradient, in the layout of the predictions; 0 for those that do not affect the loss.
    pub gradient: Vec<f32>,
}

/// What the first stage should predict for a sampled anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnchorTarget {
    /// The position of the anchor's prediction: its logit is `logits[at]`, its deltas are `deltas[4 * at..][..4]`.
    pub at: usize,
    /// The deltas from the anchor to its object; `None` for background.
    pub deltas: Option<Deltas>,
}

/// What the second stage should predict for a region that has an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectTarget {
    /// The class of the object.
    pub class: usize,
    /// The deltas from the region to the object.
    pub deltas: Deltas,
}

/// Binary cross entropy of the sampled anchors' objectness:
///
/// L = 1/M sum_i (ln(1 + e^z_i) - y_i z_i),  dL/dz_i = (1 / (1 + e^-z_i) - y_i) / M
///
/// logits z of all anchors of the batch, y = 1 for a target with an object; M, `divisor`: samples per image times
/// images, even if fewer were sampled.
///
/// # Panics
/// When `divisor` is 0 or a target is not among the logits.
pub fn objectness(logits: &[f32], targets: &[AnchorTarget], divisor: usize) -> LossAndGrad {
    let mut sum = Sum::new(logits.len(), divisor);
    for target in targets {
        sum.add(target.at, binary_cross_entropy(logits[target.at].into(), target.deltas.is_some()));
    }
    sum.finish()
}

/// Distance of the sampled anchors' deltas from their targets:
///
/// L = 1/M sum_i sum_k l(d_ik - t_ik),  l(x) = x² / (2 beta) if |x| < beta, else |x| - beta / 2
///
/// deltas d (anchors of the batch, 4), t the deltas of the targets with an object; M as for [`objectness`]. l is the
/// smooth L1 of Girshick 2015, "Fast R-CNN", Eq. 3, <https://arxiv.org/abs/1504.08083>, which has beta = 1. detectron2's
/// default is beta = 0: L1, with the gradient 0 at 0.
///
/// # Panics
/// When `divisor` is 0 or a target is not among the deltas.
pub fn anchor_boxes(deltas: &[f32], targets: &[AnchorTarget], beta: f32, divisor: usize) -> LossAndGrad {
    let mut sum = Sum::new(deltas.len(), divisor);
    for target in targets {
        if let Some(expected) = target.deltas {
            sum.add_box(deltas, 4 * target.at, expected, beta);
        }
    }
    sum.finish()
}

/// Mean cross entropy of the regions' classes:
///
/// L = 1/R sum_r (ln sum_k e^z_rk - z_rc),  dL/dz_rk = (softmax(z_r)_k - [k = c]) / R
///
/// logits z (R, classes + 1) with the background last; c is the class of the region's object, or the background.
///
/// # Panics
/// When the logits are not R rows, or a class is not among their columns.
pub fn region_classes(logits: &[f32], targets: &[Option<ObjectTarget>]) -> LossAndGrad {
    let columns = columns(logits, targets.len(), 1);
    let mut sum = Sum::new(logits.len(), targets.len().max(1));
    for (row, target) in targets.iter().enumerate() {
        let background = columns - 1;
        let class = target.map_or(background, |target| checked(target.class, background));
        sum.add_cross_entropy(logits, row * columns..(row + 1) * columns, class);
    }
    sum.finish()
}

/// Distance of the deltas that the regions predict for the classes of their objects:
///
/// L = 1/R sum_r sum_k l(d_rck - t_rk)  over the regions r that have an object, with l as for [`anchor_boxes`]
///
/// deltas d (R, classes, 4), class c and deltas t of the region's target; R counts all regions.
///
/// # Panics
/// When the deltas are not R rows, or a class is not among them.
pub fn region_boxes(deltas: &[f32], targets: &[Option<ObjectTarget>], beta: f32) -> LossAndGrad {
    let classes = columns(deltas, targets.len(), 4);
    let mut sum = Sum::new(deltas.len(), targets.len().max(1));
    for (row, target) in targets.iter().enumerate() {
        if let Some(target) = target {
            let at = row * classes + checked(target.class, classes);
            sum.add_box(deltas, 4 * at, target.deltas, beta);
        }
    }
    sum.finish()
}

/// The number of columns of a matrix with this number of rows, in which each element is `size` numbers.
fn columns(values: &[f32], rows: usize, size: usize) -> usize {
    let fits = values.len().is_multiple_of(rows * size) && values.is_empty() == (rows == 0);
    assert!(fits, "detection loss: {} predictions of {rows} regions", values.len());
    values.len() / (rows * size).max(1)
}

fn checked(class: usize, classes: usize) -> usize {
    assert!(class < classes, "detection loss: class {class} of {classes}");
    class
}

/// The value of a term and its derivative.
type Term = (f64, f64);

/// ln(1 + e^z) - y z, in a form that neither overflows nor cancels: with s = z for y = 0 and s = -z for y = 1, the value
/// is ln(1 + e^s) and the derivative is ± 1 / (1 + e^-s).
fn binary_cross_entropy(z: f64, positive: bool) -> Term {
    let sign = if positive { -1.0 } else { 1.0 };
    let s = sign * z;
    (s.max(0.0) + libm::log1p(libm::exp(-s.abs())), sign / (1.0 + libm::exp(-s)))
}

/// x² / (2 beta) if |x| < beta, else |x| - beta / 2.
fn smooth_l1(x: f64, beta: f64) -> Term {
    if x.abs() < beta {
        (x * x / (2.0 * beta), x / beta)
    } else {
        (x.abs() - beta / 2.0, if x == 0.0 { 0.0 } else { x.signum() })
    }
}

/// A sum of terms that are divided by one number.
struct Sum {
    divisor: f64,
    loss: LossAndGrad,
}

impl Sum {
    fn new(predictions: usize, divisor: usize) -> Self {
        assert!(divisor > 0, "detection loss: a division by 0");
        Self { divisor: divisor as f64, loss: LossAndGrad { value: 0.0, gradient: vec![0.0; predictions] } }
    }

    /// Adds a term that depends on the prediction at this position.
    fn add(&mut self, at: usize, (value, slope): Term) {
        self.loss.value += value;
        self.loss.gradient[at] += (slope / self.divisor) as f32;
    }

    /// Adds the distances of the four deltas from this position on.
    fn add_box(&mut self, deltas: &[f32], at: usize, expected: Deltas, beta: f32) {
        for (at, expected) in (at..).zip(expected) {
            self.add(at, smooth_l1(f64::from(deltas[at]) - f64::from(expected), beta.into()));
        }
    }

    /// Adds the cross entropy of a row with a class.
    fn add_cross_entropy(&mut self, logits: &[f32], row: Range<usize>, class: usize) {
        let z = |at: usize| f64::from(logits[at]);
        let largest = row.clone().map(z).fold(f64::NEG_INFINITY, f64::max);
        let log_sum = largest + libm::log(row.clone().map(|at| libm::exp(z(at) - largest)).sum());
        let right = row.start + class;
        for at in row {
            let share = libm::exp(z(at) - log_sum);
            self.add(at, if at == right { (log_sum - z(at), share - 1.0) } else { (0.0, share) });
        }
    }

    fn finish(mut self) -> LossAndGrad {
        self.loss.value /= self.divisor;
        self.loss
    }
}
