//! The cosine between each view's prediction and its pair's target, which BYOL and SimSiam maximise.

use dfdx::prelude::*;
use rayon::prelude::*;

use crate::tensor::Vectors;

use super::LossAndGrad;
use super::number;
use super::reduce::sum_pairs;

/// Added to the square of a length: rows shorter than 1e-12 count as rows of that length, as in PyTorch's `normalize`.
const TINY: f64 = 1e-24;

/// 1/2N sum_i cos(p_i, z_pair(i)).
///
/// p, z (2N, P): row i and row i + N are a pair. z has no gradient.
pub fn mean_cosine<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    p: Tensor<Vectors<P>, E, Cpu, T>,
    z: Tensor<Vectors<P>, E, Cpu>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let rows = p.shape().0;
    let pair = unit(z).roll::<Axis<0>>(rows / 2); // (2N, P)
    (unit(p) * pair).sum::<Rank0, _>() / number::<E>(rows as f64)
}

/// x / |x| of each row.
fn unit<const P: usize, E: Dtype, T: Tape<E, Cpu>>(x: Tensor<Vectors<P>, E, Cpu, T>) -> Tensor<Vectors<P>, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *x.shape();
    let length = (x.retaped::<T>().square().sum::<(usize,), _>() + number::<E>(TINY)).sqrt();
    x / length.broadcast_like::<_, Axis<1>>(&shape)
}

/// `slope` times the mean cosine, and its gradient with respect to p:
///
/// d cos(p, z) / dp = (z / |z| - cos(p, z) p / |p|) / |p|
pub fn graded(p: &[f32], z: &[f32], width: usize, slope: f64) -> LossAndGrad {
    assert!(p.len() == z.len() && p.len().is_multiple_of(2 * width), "cosine: {} and {} numbers", p.len(), z.len());
    let rows = p.len() / width;
    let weight = slope / rows as f64;
    let mut gradient = vec![0.0; p.len()];
    let cosines = gradient.par_chunks_exact_mut(width).enumerate().map(|(row, gradient)| {
        let pair = (row + rows / 2) % rows;
        let (p, z) = (&p[row * width..][..width], &z[pair * width..][..width]);
        let length = |x| (sum_pairs(x, x, |a, b| a * b) + TINY).sqrt();
        let (of_p, of_z) = (length(p), length(z));
        let cosine = sum_pairs(p, z, |p, z| p * z) / of_p / of_z;
        for ((gradient, &p), &z) in gradient.iter_mut().zip(p).zip(z) {
            *gradient = (weight / of_p * (f64::from(z) / of_z - cosine * f64::from(p) / of_p)) as f32;
        }
        cosine
    });
    let cosines: Vec<f64> = cosines.collect();
    LossAndGrad { value: weight * cosines.iter().sum::<f64>(), gradient }
}
