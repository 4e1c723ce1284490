//! Hard negatives in SimCLR's loss: Robinson, Chuang, Sra, Jegelka 2021, "Contrastive Learning with Hard Negative
//! Samples", <https://arxiv.org/abs/2010.04592>, with the correction for false negatives of Chuang et al. 2020,
//! "Debiased Contrastive Learning", <https://arxiv.org/abs/2007.00224>.
//!
//! Negatives that are more similar to a view have a larger weight. With β = 0 and τ⁺ = 0 the loss is NT-Xent.
//!
//! Semantic pairs: the views come from two images of a category. Other pairs of the category are the hardest negatives,
//! but they are false negatives. τ⁺ corrects for them on average, and `categories` excludes them.

use dfdx::prelude::*;
use rayon::prelude::*;

use crate::kernels::cpu::Isa;
use crate::kernels::cpu::isa;
use crate::kernels::cpu::matmul;
use crate::methods::LossAndGrad;
use crate::methods::contrast::UnitRows;
use crate::methods::contrast::indicator;
use crate::methods::contrast::same;
use crate::methods::contrast::softmax_row;
use crate::methods::contrast::unit;
use crate::tensor::Vectors;

/// The hyperparameters of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hardness {
    /// How strongly similar negatives are weighted: the weight is exp(β s / t), β >= 0.
    pub beta: f32,
    /// The assumed share of the negatives that are of the view's own category, 0 <= τ⁺ < 1.
    pub tau_plus: f32,
    /// Divides the similarities.
    pub temperature: f32,
}

/// Whether view j is a negative of view i, among the views of `pairs` pairs.
fn is_negative(i: usize, j: usize, pairs: usize, categories: Option<&[u32]>) -> bool {
    let [i, j] = [i, j].map(|view| if view < pairs { view } else { view - pairs });
    i != j && !categories.is_some_and(|categories| same(categories[i], categories[j]))
}

/// Equation 4 of Robinson et al. with the M negatives of each view as its sample, averaged over all 2N views:
///
/// L = -1/2N sum_i log( p_i / (p_i + G_i) ),  p_i = exp(s_ip / t)
///
/// G_i = max( (R_i - τ⁺ M p_i) / (1 - τ⁺), M exp(-1 / t) ),
/// R_i = M sum_j exp((β + 1) s_ij / t) / sum_j exp(β s_ij / t)
///
/// z (2N, P): row i and row i + N are a pair; s is the cosine. Each view needs at least one negative. As in the
/// authors' code, the gradient also flows through the weights.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<P>, E, Cpu, T>,
    hardness: Hardness,
    categories: Option<&[u32]>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let number = super::number::<E>;
    let [beta, tau_plus, temperature] = [hardness.beta, hardness.tau_plus, hardness.temperature].map(f64::from);
    let device = z.device().clone();
    let views = z.shape().0;
    let pairs = views / 2;
    let pair = indicator(&device, (views, views), |i, j| j == (i + pairs) % views);
    let counted = indicator(&device, (views, views), |i, j| is_negative(i, j, pairs, categories));
    let count = counted.clone().sum::<(usize,), Axis<1>>(); // (2N)

    let z = unit(z);
    // One side is multiplied by 1, because dfdx's matmul refuses a tensor and its own transpose.
    let other = z.retaped::<T>() * number(1.0);
    let logits = z.matmul(other.permute::<(Const<P>, usize), Axes2<1, 0>>()) / number(temperature); // (2N, 2N)
    let positive = (logits.retaped::<T>() * pair).sum::<(usize,), Axis<1>>().exp();
    let importance = (logits.retaped::<T>() * number(beta)).exp() * counted;
    let hard = (importance.retaped::<T>() * logits.exp()).sum::<(usize,), Axis<1>>();
    let hard = hard / importance.sum::<(usize,), Axis<1>>() * count.clone();
    let debiased = (hard - positive.retaped::<T>() * count.clone() * number(tau_plus)) / number(1.0 - tau_plus);
    let least = count * number((-1.0 / temperature).exp());
    let negative = debiased.maximum(least);
    let recognised = positive.retaped::<T>() / (positive + negative);
    recognised.ln().sum::<Rank0, _>() / number(-(views as f64))
}

/// The loss of `definition` and its gradient with respect to the projections z (2N, `dim`). A view
/// without negatives counts as 0.
pub fn graded(z: &[f32], dim: usize, hardness: Hardness, categories: Option<&[u32]>) -> LossAndGrad {
    let z = UnitRows::new(z, dim);
    let views = z.rows.len() / dim;
    let mut slopes = vec![0.0; views * views]; // first the similarities, then the derivatives of each view's loss
    matmul::nt(&mut slopes, &z.rows, &z.rows, views, dim, views);
    let isa = isa();
    let grade = |buffers: &mut Buffers, (view, row): (usize, &mut [f32])| {
        buffers.others = (0..views).filter(|&other| is_negative(view, other, views / 2, categories)).collect();
        grade_view(isa, row, (view + views / 2) % views, buffers, hardness)
    };
    let rows = slopes.par_chunks_exact_mut(views).enumerate();
    let values: Vec<f64> = rows.map_init(Buffers::default, grade).collect();

    let [mut gradient, mut other] = [(); 2].map(|()| vec![0.0; z.rows.len()]);
    matmul::nn(&mut gradient, &slopes, &z.rows, views, views, dim);
    matmul::tn(&mut other, &slopes, &z.rows, views, views, dim);
    let scale = 1.0 / (hardness.temperature * views as f32);
    gradient.iter_mut().zip(other).for_each(|(gradient, other)| *gradient = scale * (*gradient + other));
    LossAndGrad { value: values.iter().sum::<f64>() / views as f64, gradient: z.backward(gradient) }
}

/// Buffers for the work on one view.
#[derive(Default)]
struct Buffers {
    /// The view's negatives.
    others: Vec<usize>,
    hard: Vec<f32>,
    mild: Vec<f32>,
    scratch: Vec<f32>,
}

/// Replaces a view's similarities by the derivatives of its loss with respect to their logits, and returns the loss.
fn grade_view(isa: Isa, row: &mut [f32], pair: usize, buffers: &mut Buffers, hardness: Hardness) -> f64 {
    let Buffers { others, hard, mild, scratch } = buffers;
    let Hardness { beta, temperature, .. } = hardness;
    let positive = f64::from(row[pair]);
    for buffer in [&mut *hard, mild, scratch] {
        buffer.clear();
        buffer.extend(others.iter().map(|&other| row[other]));
    }
    row.fill(0.0);
    if others.is_empty() {
        return 0.0;
    }
    let log_sums = [
        softmax_row(isa, hard, scratch, (beta + 1.0) / temperature),
        softmax_row(isa, mild, scratch, beta / temperature),
    ];
    let slope = grade(others.len(), positive, log_sums, hardness);
    for (&other, (&hard, &mild)) in others.iter().zip(hard.iter().zip(&*mild)) {
        let change = f64::from(beta + 1.0) * f64::from(hard) - f64::from(beta) * f64::from(mild);
        row[other] = (slope.negatives * change) as f32;
    }
    row[pair] = slope.positive as f32;
    slope.value
}

/// The loss log(1 + G / p) of a view, and its derivatives.
struct Slope {
    value: f64,
    /// With respect to the logit of the positive.
    positive: f64,
    /// With respect to log R.
    negatives: f64,
}

/// Computes the loss from the number of negatives, the similarity of the positive, and log sum exp
/// of (β + 1) s / t and of β s / t.
fn grade(count: usize, similarity: f64, [hard, mild]: [f64; 2], hardness: Hardness) -> Slope {
    let [count, rest] = [count as f64, 1.0 - f64::from(hardness.tau_plus)];
    let scale = f64::from(1.0 / hardness.temperature);
    let positive = scale * similarity;
    let hard = count * libm::exp(hard - mild - positive) / rest; // R / p / (1 - τ⁺)
    let debiased = hard - (1.0 - rest) * count / rest;
    let least = count * libm::exp(-scale - positive);
    let negative = debiased.max(least); // G / p
    let negatives = if debiased >= least { hard / (1.0 + negative) } else { 0.0 };
    let positive = if debiased >= least { -negatives } else { -negative / (1.0 + negative) };
    Slope { value: libm::log1p(negative), positive, negatives }
}
