//! Detection: boxes, anchors, matching, suppression, losses and batches against reference numbers, against plain definitions
//! over random inputs, and with hostile inputs; and what detectors learn.

mod anchors;
mod batches;
mod boxes;
mod losses;
mod matching;
mod nms;
mod region_losses;
mod steps;
mod training;

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, Rank0, SumTo, Tensor, TensorFromVec, Trace};
use sempair::detection::Edges;
use sempair::detection::losses::LossAndGrad;
use sempair::rng::{Key, Stream};
use sempair::tensor::{Const, Vectors};

/// The reference numbers were made with torch 2.15.0 and torchvision 0.29.2 in f64, and are printed with nine decimals.
const PRINTED: f64 = 1e-9;

const EPS: f64 = f32::EPSILON as f64;

/// A tensor on dfdx's tape.
type Taped<S> = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>;

fn stream(seed: u64) -> Stream {
    Key::root(seed).split("detection").stream()
}

/// A box whose edges are whole numbers from 0 to `side`. It may be empty.
fn whole_box(stream: &mut Stream, side: usize) -> Edges {
    let mut two = || {
        let (a, b) = (stream.below(side + 1), stream.below(side + 1));
        (a.min(b) as f32, a.max(b) as f32)
    };
    let ((x1, x2), (y1, y2)) = (two(), two());
    [x1, y1, x2, y2]
}

/// A box with sides of at least 1 and edges of up to about 100.
fn any_box(stream: &mut Stream) -> Edges {
    let [x, y] = [(); 2].map(|()| stream.range(-20.0, 80.0));
    let [w, h] = [(); 2].map(|()| stream.range(1.0, 60.0));
    [x, y, x + w, y + h]
}

fn assert_near(ours: impl Into<f64>, expected: f64, tolerance: f64, what: &str) {
    let ours = ours.into();
    assert!((ours - expected).abs() <= tolerance, "{what}: {ours} for {expected} within {tolerance}");
}

/// Asserts that the boxes are equal up to the rounding of their coordinates to f32.
fn assert_boxes(ours: &[Edges], expected: &[[f64; 4]], what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (ours, expected) in ours.iter().zip(expected) {
        let largest = expected.iter().fold(1.0, |largest: f64, edge| largest.max(edge.abs()));
        let edges = ours.iter().zip(expected);
        edges.for_each(|(&ours, &expected)| assert_near(ours, expected, 2.0 * EPS * largest, what));
    }
}

/// Asserts that value and gradient are the printed ones, up to the rounding of the inputs to f32.
fn assert_printed(ours: &LossAndGrad, value: f64, gradient: &[f64]) {
    assert_near(ours.value, value, 4.0 * EPS * (1.0 + value), "value");
    assert_eq!(ours.gradient.len(), gradient.len());
    for (at, (&ours, &expected)) in ours.gradient.iter().zip(gradient).enumerate() {
        assert_near(ours, expected, PRINTED + EPS, &format!("gradient[{at}]"));
    }
}

/// Rows as a tensor of dfdx.
fn tensor<const P: usize>(x: &[f32]) -> Tensor<Vectors<P>, f64, Cpu> {
    Cpu::default().tensor_from_vec(x.iter().map(|&x| x.into()).collect(), (x.len() / P, Const))
}

/// x² / (2 beta) if |x| < beta, else |x| - beta / 2, of the differences x between two tensors.
fn smooth_l1<const P: usize>(
    x: Taped<Vectors<P>>,
    expected: Tensor<Vectors<P>, f64, Cpu>,
    beta: f32,
) -> Taped<Vectors<P>> {
    if beta == 0.0 { (x - expected).abs() } else { x.huber_error(expected, beta) / f64::from(beta) }
}

/// Asserts that value and gradient are those of a loss in dfdx's f64.
fn assert_defined<const P: usize>(
    ours: &LossAndGrad,
    x: &[f32],
    loss: impl FnOnce(Taped<Vectors<P>>) -> Taped<Rank0>,
    what: &str,
) {
    let x = tensor::<P>(x);
    let loss = loss(x.leaky_trace());
    assert_near(ours.value, loss.array(), 1e-13 * (1.0 + loss.array().abs()), what);
    let gradient = loss.backward().get(&x).as_vec();
    assert_eq!(ours.gradient.len(), gradient.len(), "{what}");
    for (at, (&ours, &expected)) in ours.gradient.iter().zip(&gradient).enumerate() {
        assert_near(ours, expected, 1e-15 + EPS * expected.abs(), &format!("{what}, gradient[{at}]"));
    }
}

/// Asserts that the gradient is that of the value, by differences over a small step. The third derivative of each loss
/// is less than 1 except at kinks, which must not be within the step.
fn assert_slope(x: &[f32], loss: impl Fn(&[f32]) -> LossAndGrad, what: &str) {
    let step = 1.0 / 256.0;
    let gradient = loss(x).gradient;
    for at in 0..x.len() {
        let moved = |step: f32| {
            let mut x = x.to_vec();
            x[at] += step;
            (f64::from(x[at]), loss(&x).value)
        };
        let ((left, below), (right, above)) = (moved(-step), moved(step));
        let slope = (above - below) / (right - left);
        let tolerance = f64::from(step * step) / 6.0 + EPS;
        assert_near(gradient[at], slope, tolerance, &format!("{what}, gradient[{at}] by differences"));
    }
}
