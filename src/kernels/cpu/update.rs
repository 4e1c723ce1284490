//! The optimisers' arithmetic over flat slices of equal length. Values and moments are updated in place.

use std::ops::Range;

use rayon::prelude::*;

use super::check_len;
use super::isa::with_wide_vectors;
use super::rows::Output;
use super::rows::PIECE;
use super::rows::Span;
use super::rows::Tiled;
use super::rows::sweep_vector;
use super::vector::Vector;

/// Momentum SGD as PyTorch defines it: g = scale (gradient + weight_decay p); v = momentum v + g; p -= lr v, or
/// p -= lr (g + momentum v) with Nesterov momentum. `velocity` starts at zero.
#[allow(clippy::too_many_arguments)]
pub fn sgd(
    values: &mut [f32],
    velocity: &mut [f32],
    gradients: &[f32],
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    nesterov: bool,
    scale: f32,
) {
    let len = values.len();
    check_len("update::sgd", "velocity", velocity, len);
    check_len("update::sgd", "gradients", gradients, len);
    let (values, velocity) = (Output::new(values), Output::new(velocity));
    let work = Sgd { values, velocity, gradients, lr, momentum, weight_decay, nesterov, scale };
    // SAFETY: all slices have `len` elements, and those written are borrowed.
    unsafe { sweep_vector(work, len) };
}

/// One step of AdamW (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>) as PyTorch defines it, with
/// decoupled decay.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// The averaging coefficients, of gradients and of their squares.
    pub betas: (f32, f32),
    /// The learning rate divided by the bias correction of the first moment.
    pub step_size: f32,
    /// The factor that corrects the bias of the second moment's root.
    pub root_correction: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The factor of a value that decay leaves.
    pub keep: f32,
}

impl AdamWStep {
    /// The step of this number, which counts from 1.
    pub fn new(learning_rate: f32, betas: (f32, f32), epsilon: f32, weight_decay: f32, step: u64) -> Self {
        assert!(step > 0, "AdamW: step counts from 1");
        let correction = |beta: f32| 1.0 - libm::pow(f64::from(beta), step as f64);
        Self {
            betas,
            step_size: (f64::from(learning_rate) / correction(betas.0)) as f32,
            root_correction: (1.0 / correction(betas.1).sqrt()) as f32,
            epsilon,
            keep: 1.0 - learning_rate * weight_decay,
        }
    }
}

/// Performs a step of AdamW. `first` and `second` start at zero.
pub fn adamw(values: &mut [f32], first: &mut [f32], second: &mut [f32], gradients: &[f32], step: &AdamWStep) {
    let len = values.len();
    check_len("update::adamw", "first", first, len);
    check_len("update::adamw", "second", second, len);
    check_len("update::adamw", "gradients", gradients, len);
    let (values, first, second) = (Output::new(values), Output::new(first), Output::new(second));
    let work = AdamW { values, first, second, gradients, step: *step };
    // SAFETY: all slices have `len` elements, and those written are borrowed.
    unsafe { sweep_vector(work, len) };
}

/// The factor by which LARS scales a weight's step (You et al. 2017, <https://arxiv.org/abs/1708.03888>, algorithm 1):
/// trust |w| / (|g| + decay |w|), or 1 if either norm is 0.
pub fn trust_ratio(values: &[f32], gradients: &[f32], trust: f32, weight_decay: f32) -> f32 {
    let (value, gradient) = (norm(values), norm(gradients));
    if value == 0.0 || gradient == 0.0 {
        return 1.0;
    }
    (f64::from(trust) * value / (gradient + f64::from(weight_decay) * value)) as f32
}

/// The exponential moving average: target = momentum target + (1 - momentum) online.
///
/// Computed as target + (1 - momentum) (online - target), so that equal values stay equal, to the bit. Rounded
/// weights that do not add up to one would move the target a little in each of many thousand steps.
pub fn average(target: &mut [f32], online: &[f32], momentum: f64) {
    let len = target.len();
    check_len("update::average", "online", online, len);
    let work = Average { target: Output::new(target), online, pull: (1.0 - momentum) as f32 };
    // SAFETY: both slices have `len` elements, and the one written is borrowed.
    unsafe { sweep_vector(work, len) };
}

/// values = factor values.
pub fn scale(values: &mut [f32], factor: f32) {
    let len = values.len();
    // SAFETY: the slice has `len` elements and is borrowed.
    unsafe { sweep_vector(Scale { values: Output::new(values), factor }, len) };
}

/// Returns the Euclidean norm of `x`: f64 sums over fixed pieces, joined in order.
pub fn norm(x: &[f32]) -> f64 {
    // Eight independent sums: a single one would wait for each addition.
    let squares = |x: &[f32]| {
        let mut sums = [0.0f64; 8];
        let mut eights = x.chunks_exact(8);
        for eight in &mut eights {
            sums.iter_mut().zip(eight).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        }
        sums.iter_mut().zip(eights.remainder()).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        sums.iter().sum::<f64>()
    };
    let sums: Vec<f64> = x.par_chunks(PIECE).map(|x| with_wide_vectors(|| squares(x))).collect();
    sums.iter().sum::<f64>().sqrt()
}

#[derive(Clone, Copy)]
struct Sgd<'a> {
    values: Output<f32>,
    velocity: Output<f32>,
    gradients: &'a [f32],
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    nesterov: bool,
    scale: f32,
}

impl Tiled for Sgd<'_> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        let (values, velocity) = (self.values.at(0), self.velocity.at(0));
        // SAFETY: the caller guarantees that the span lies in the slices.
        unsafe {
            let p: V = span.load(values);
            let gradient: V = span.load(self.gradients.as_ptr());
            let momentum = V::splat(self.momentum);
            let g = gradient.add_product(V::splat(self.weight_decay), p).mul(V::splat(self.scale));
            let v = g.add_product(momentum, span.load(velocity));
            let direction = if self.nesterov { g.add_product(momentum, v) } else { v };
            span.store(velocity, v);
            span.store(values, p.add_product(V::splat(-self.lr), direction));
        }
    }
}

#[derive(Clone, Copy)]
struct Average<'a> {
    target: Output<f32>,
    online: &'a [f32],
    /// The fraction by which the target moves towards the online values.
    pull: f32,
}

impl Tiled for Average<'_> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        let target = self.target.at(0);
        // SAFETY: the caller guarantees that the span lies in the slices.
        unsafe {
            let t: V = span.load(target);
            let online: V = span.load(self.online.as_ptr());
            span.store(target, t.add_product(V::splat(self.pull), online.sub(t)));
        }
    }
}

#[derive(Clone, Copy)]
struct Scale {
    values: Output<f32>,
    factor: f32,
}

impl Tiled for Scale {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        let values = self.values.at(0);
        // SAFETY: the caller guarantees that the span lies in the slice.
        unsafe { span.store(values, span.load::<f32, V>(values).mul(V::splat(self.factor))) };
    }
}

#[derive(Clone, Copy)]
struct AdamW<'a> {
    values: Output<f32>,
    first: Output<f32>,
    second: Output<f32>,
    gradients: &'a [f32],
    step: AdamWStep,
}

impl Tiled for AdamW<'_> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        let (values, first, second) = (self.values.at(0), self.first.at(0), self.second.at(0));
        let AdamWStep { betas, step_size, root_correction, epsilon, keep } = self.step;
        // SAFETY: the caller guarantees that the span lies in the slices.
        unsafe {
            let g: V = span.load(self.gradients.as_ptr());
            let (m, v, p): (V, V, V) = (span.load(first), span.load(second), span.load(values));
            let m = m.add_product(V::splat(1.0 - betas.0), g.sub(m));
            let v = v.mul(V::splat(betas.1)).add_product(V::splat(1.0 - betas.1).mul(g), g);
            let root = V::splat(epsilon).add_product(v.sqrt(), V::splat(root_correction));
            let step = V::splat(step_size).mul(m).div(root);
            span.store(first, m);
            span.store(second, v);
            span.store(values, p.mul(V::splat(keep)).sub(step));
        }
    }
}
