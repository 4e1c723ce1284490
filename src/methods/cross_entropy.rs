//! Softmax over rows of scores, and the cross-entropy of each view with the targets from the other
//! views: the losses of DINO and SwAV.

use dfdx::prelude::*;
use rayon::prelude::*;

use crate::kernels::cpu::Isa;
use crate::kernels::cpu::isa;
use crate::kernels::cpu::softmax::softmax_rows;
use crate::tensor::Vectors;

use super::LossAndGrad;
use super::number;
use super::reduce::largest;
use super::reduce::sum_pairs;

/// The number of views that give targets: the global views, which come first.
const TARGETS: usize = 2;

/// L = 1/(2 (V - 1) N) sum_{i < 2} sum_{j != i} sum_n H(q_in, softmax(s_jn / t)),  H(q, p) = -sum_k q_k log p_k
///
/// scores s (V N, K): one view after the other; targets q (2N, K): from the first two views, without gradient.
pub fn definition<const K: usize, E: Dtype, T: Tape<E, Cpu>>(
    scores: Tensor<Vectors<K>, E, Cpu, T>,
    targets: Tensor<Vectors<K>, E, Cpu>,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *scores.shape();
    let batch = targets.shape().0 / TARGETS;
    let views = shape.0 / batch;
    let targets = targets.as_vec();
    let of_view = |view: usize| &targets[view * batch * K..][..batch * K];
    let mut others = vec![number::<E>(0.0); shape.num_elements()]; // for each view, the targets from the others
    for i in 0..TARGETS {
        for (_, others) in others.chunks_mut(batch * K).enumerate().filter(|(j, _)| *j != i) {
            others.iter_mut().zip(of_view(i)).for_each(|(other, q)| *other += *q);
        }
    }
    let others: Tensor<Vectors<K>, E, Cpu> = scores.device().tensor_from_vec(others, shape);
    let log_p = (scores / number::<E>(f64::from(temperature))).log_softmax::<Axis<1>>(); // (V N, K)
    (log_p * others).sum::<Rank0, _>() / number::<E>(-((TARGETS * (views - 1) * batch) as f64))
}

/// The loss of `definition` and its gradient with respect to the scores:
///
/// sum_{i != j} (softmax(s_jn / t) sum_k q_ink - q_in) / (2 (V - 1) N t)
pub fn graded(scores: &[f32], targets: &[f32], columns: usize, temperature: f32) -> LossAndGrad {
    let batch = targets.len() / columns / TARGETS;
    let views = scores.len() / columns / batch;
    let fits = targets.len() == TARGETS * batch * columns && scores.len() == views * batch * columns;
    assert!(fits && views >= TARGETS, "cross_entropy: {} scores, {} targets", scores.len(), targets.len());
    let weight = 1.0 / (TARGETS * (views - 1) * batch) as f64;
    let scale = 1.0 / f64::from(temperature);
    let isa = isa();
    let mut gradient = vec![0.0; scores.len()];
    let rows = gradient.par_chunks_exact_mut(columns).enumerate();
    let entropies = rows.map_init(Vec::new, |scratch, (row, gradient)| {
        let (view, item) = (row / batch, row % batch);
        let scores = &scores[row * columns..][..columns];
        let log_sum = softmax_row(isa, gradient, scores, scale, scratch);
        let others = (0..TARGETS).filter(|other| *other != view);
        let others = others.map(|other| &targets[(other * batch + item) * columns..][..columns]);
        let factor = (weight * scale) as f32;
        let mass: f64 = others.clone().map(|q| sum_pairs(q, q, |q, _| q)).sum();
        gradient.iter_mut().for_each(|gradient| *gradient *= factor * mass as f32);
        let entropy = |q: &[f32]| {
            gradient.iter_mut().zip(q).for_each(|(gradient, q)| *gradient -= factor * q);
            sum_pairs(q, scores, |q, s| q * (log_sum - scale * s))
        };
        others.map(entropy).sum::<f64>()
    });
    let entropies: Vec<f64> = entropies.collect();
    LossAndGrad { value: weight * entropies.iter().sum::<f64>(), gradient }
}

/// softmax(scale x) of each row of `columns`.
pub fn softmax(x: &[f32], columns: usize, scale: f64) -> Vec<f32> {
    let isa = isa();
    let mut y = vec![0.0; x.len()];
    let rows = y.par_chunks_exact_mut(columns).zip(x.par_chunks_exact(columns));
    rows.for_each_init(Vec::new, |scratch, (y, x)| {
        softmax_row(isa, y, x, scale, scratch);
    });
    y
}

/// Writes y = softmax(scale x) and returns the logarithm of the sum of exponentials.
fn softmax_row(isa: Isa, y: &mut [f32], x: &[f32], scale: f64, scratch: &mut Vec<f32>) -> f64 {
    scratch.clear();
    scratch.extend_from_slice(x);
    softmax_rows(isa, y, scratch, (1, x.len()), scale as f32);
    // The largest y belongs to the largest x and is 1 / sum of e^(scale (x - largest)).
    scale * f64::from(largest(x)) - libm::log(f64::from(largest(y)))
}
