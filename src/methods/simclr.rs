//! SimCLR: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
//! <https://arxiv.org/abs/2002.05709>.

use dfdx::prelude::*;

use crate::tensor::Vectors;

/// NT-Xent, equation 1 of the paper, averaged over all 2N views:
///
/// L = -1/2N sum_i log( exp(s_ip / t) / sum_{j != i} exp(s_ij / t) ),  s the cosine similarity, p the pair of i
///
/// z (2N, P): row i and row i + N are a pair. Rows shorter than 1e-12 count as that long, as in PyTorch's `normalize`.
/// Two pairs of one category count as negatives of each other, as in the paper.
pub fn nt_xent<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<P>, E, Cpu, T>,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let views = z.shape().0;
    let device = z.device().clone();
    let number = |x: f64| E::from_f64(x).expect("floats hold any f64, rounded");
    let tiny = number(1e-24);
    let length = (z.retaped::<T>().square().sum::<(usize,), _>() + tiny).sqrt();
    let unit = z / length.broadcast_like::<_, Axis<1>>(&(views, Const::<P>));
    // One side times 1: dfdx's matmul refuses a tensor and its own transpose.
    let other = unit.retaped::<T>() * number(1.0);
    let similarity = unit.matmul(other.permute::<(Const<P>, usize), Axes2<1, 0>>()); // (2N, 2N)
    let [itself, pair] = masks(views);
    let itself = device.tensor_from_vec(itself.into_iter().map(number).collect(), (views, views));
    let pair = device.tensor_from_vec(pair.into_iter().map(number).collect(), (views, views));
    // exp(-1e9) is 0 in f32 and in f64, so a view is no candidate for itself.
    let logits = similarity / number(f64::from(temperature)) - itself * number(1e9);
    let log_likelihood = logits.log_softmax::<Axis<1>>() * pair;
    log_likelihood.sum::<Rank0, _>() / number(-(views as f64))
}

/// 1 where column j is row i itself, and 1 where it is its pair.
fn masks(views: usize) -> [Vec<f64>; 2] {
    let one_at = |column: fn(usize, usize) -> usize| {
        let mut mask = vec![0.0; views * views];
        (0..views).for_each(|row| mask[row * views + column(row, views)] = 1.0);
        mask
    };
    [one_at(|row, _| row), one_at(|row, views| (row + views / 2) % views)]
}
