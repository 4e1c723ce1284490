//! SimCLR: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
//! <https://arxiv.org/abs/2002.05709>.

use dfdx::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::cpu::{isa, linear, matmul};
use crate::kernels::cpu::softmax::softmax_rows;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Identity, Linear, Relu, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Pooled, Reading, Vectors};
use crate::tensor::bridge::{self, Embedding, Loss};

use super::hard_negatives::{self, Hardness};
use super::reduce::inner;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, above_zero, not_negative};

/// SimCLR's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Divides the similarities.
    pub temperature: f32,
    /// Label-aware variant, not in the paper: other pairs of the same category are not negatives.
    pub mask_same_category: bool,
    /// How strongly similar negatives are weighted (Robinson et al. 2021, see [`super::hard_negatives`]); 0 is SimCLR.
    pub hard_negatives: f32,
    /// The size of the head.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Width of the projections.
const P: usize = 128;
/// Linear, ReLU, linear; the hidden layer is as wide as the features (section 2.1).
type Head<const F: usize> = sequence!(Linear<F, F>, Relu, Linear<F, P>);
/// The same with batch normalisation, as in the authors' code.
type NormalizedHead<const F: usize> = sequence!(Linear<F, F>, BatchNormRelu<F>, Linear<F, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "temperature", self.temperature)?;
        not_negative(key, "hard_negatives", self.hard_negatives)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        let head: BuildHead<D, P, P> = match self.head {
            Size::Small => head!(F => NormalizedHead<F>, Identity),
            Size::Paper => head!(F => Head<F>, Identity),
        };
        let network = Network::open(&start.spec, head, &start.device, &start.initialisation)?;
        Ok(Box::new(Simclr { network, settings: self.clone() }))
    }
}

struct Simclr<D: tensor::Losses> {
    network: Network<D, P, P>,
    settings: Settings,
}

impl<D: tensor::Losses> Learner<D> for Simclr<D> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let Settings { temperature, hard_negatives: beta, mask_same_category, .. } = self.settings;
        let pass = self.network.embed(batch.images, &[]);
        if beta > 0.0 || mask_same_category {
            // With `beta` 0, this loss is NT-Xent.
            let hardness = Hardness { beta, tau_plus: 0.0, temperature };
            let categories = mask_same_category.then_some(batch.categories);
            return hard_negatives::graded(&pass.p(), P, hardness, categories).backward(pass);
        }
        let z = pass.predictions();
        if let Some(loss) = z.device().nt_xent(z.data(), P, temperature) {
            return pass.backward_from(loss);
        }
        let loss = nt_xent_in_closed_form(pass.on_tape(), temperature);
        let value = f64::from(loss.array());
        loss.backward();
        Reading::Known(value)
    }
}

/// The number of rows per task.
const ROWS: usize = 16;

/// NT-Xent, equation 1 of the paper, averaged over all 2N views:
///
/// L = -1/2N sum_i log( exp(s_ip / t) / sum_{j != i} exp(s_ij / t) ),  s the cosine similarity, p the pair of i
///
/// z (2N, P): row i and row i + N are a pair. Rows shorter than 1e-12 count as rows of that length, as in PyTorch's
/// `normalize`. Two pairs of one category count as negatives of each other, as in the paper.
pub fn nt_xent<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<P>, E, Cpu, T>,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let views = z.shape().0;
    let device = z.device().clone();
    let number = super::number::<E>;
    let tiny = number(1e-24);
    let length = (z.retaped::<T>().square().sum::<(usize,), _>() + tiny).sqrt();
    let unit = z / length.broadcast_like::<_, Axis<1>>(&(views, Const::<P>));
    // One side is multiplied by 1, because dfdx's matmul refuses a tensor and its own transpose.
    let other = unit.retaped::<T>() * number(1.0);
    let similarity = unit.matmul(other.permute::<(Const<P>, usize), Axes2<1, 0>>()); // (2N, 2N)
    let [itself, pair] = masks(views);
    let itself = device.tensor_from_vec(itself.into_iter().map(number).collect(), (views, views));
    let pair = device.tensor_from_vec(pair.into_iter().map(number).collect(), (views, views));
    // exp(-1e9) is 0 in f32 and in f64, so a view is not a candidate for itself.
    let logits = similarity / number(f64::from(temperature)) - itself * number(1e9);
    let log_likelihood = logits.log_softmax::<Axis<1>>() * pair;
    log_likelihood.sum::<Rank0, _>() / number(-(views as f64))
}

/// Two masks: 1 where column j is row i itself, and 1 where column j is the pair of row i.
fn masks(views: usize) -> [Vec<f64>; 2] {
    let one_at = |column: fn(usize, usize) -> usize| {
        let mut mask = vec![0.0; views * views];
        (0..views).for_each(|row| mask[row * views + column(row, views)] = 1.0);
        mask
    };
    [one_at(|row, _| row), one_at(|row, views| (row + views / 2) % views)]
}

/// [`nt_xent`] and its gradient in closed form, as one operation on the tape. Training uses this version.
pub fn nt_xent_in_closed_form<const P: usize>(z: Embedding<P>, temperature: f32) -> Loss {
    bridge::closed_form(z, |z, dz| value_and_gradient(dz, z, P, temperature))
}

/// Writes the gradient of z (2N, width) and returns the loss. With u = z / |z|, and q the softmax of s_ij / t over the
/// other views, minus 1 at the pair:
///
/// 2N L = sum_i log sum_{j != i} exp(s_ij / t) - s_ip / t,  2N t dL/du = (q + q') u,  dz = (du - u (u du)) / |z|
fn value_and_gradient(dz: &mut [f32], z: &[f32], width: usize, temperature: f32) -> f32 {
    let views = z.len() / width;
    let [mut length, mut unit] = [views, z.len()].map(Pooled::<f32>::new);
    let [mut similarity, mut q] = [views * views; 2].map(Pooled::<f32>::new);
    let rows = z.par_chunks(ROWS * width).zip(unit.par_chunks_mut(ROWS * width)).zip(length.par_chunks_mut(ROWS));
    rows.for_each(|((z, unit), length)| {
        for ((z, unit), length) in z.chunks(width).zip(unit.chunks_mut(width)).zip(length) {
            *length = (inner(z, z) + 1e-24).sqrt() as f32;
            unit.iter_mut().zip(z).for_each(|(unit, z)| *unit = z / *length);
        }
    });
    matmul::nt(&mut similarity, &unit, &unit, views, width, views);
    let mut losses = vec![0.0; views.div_ceil(ROWS)];
    let blocks = similarity.par_chunks_mut(ROWS * views).zip(q.par_chunks_mut(ROWS * views)).zip(&mut losses);
    blocks.enumerate().for_each(|(block, ((s, q), loss))| *loss = contrast(q, s, views, block * ROWS, temperature));
    matmul::nn(dz, &q, &unit, views, views, width);
    linear::weight_gradient(dz, &unit, &q, views, width, views);
    let rows = dz.par_chunks_mut(ROWS * width).zip(unit.par_chunks(ROWS * width)).zip(length.par_chunks(ROWS));
    let scale = 1.0 / (views as f32 * temperature);
    rows.for_each(|((dz, unit), length)| {
        for ((dz, unit), length) in dz.chunks_mut(width).zip(unit.chunks(width)).zip(length) {
            let along = inner(dz, unit) as f32;
            dz.iter_mut().zip(unit).for_each(|(dz, unit)| *dz = (*dz - unit * along) * scale / length);
        }
    });
    (losses.iter().sum::<f64>() / views as f64) as f32
}

/// For the rows of similarities s from row `first` on: writes q, overwrites s, and returns the sum of the rows' losses.
fn contrast(q: &mut [f32], s: &mut [f32], views: usize, first: usize, temperature: f32) -> f64 {
    let logit = |s: f32| f64::from(s) / f64::from(temperature);
    let pair = |row: usize| (row + views / 2) % views;
    let mut loss = 0.0;
    for (row, s) in (first..).zip(s.chunks_mut(views)) {
        s[row] = f32::NEG_INFINITY;
        loss += logit(s.iter().copied().fold(f32::NEG_INFINITY, f32::max)) - logit(s[pair(row)]);
    }
    softmax_rows(isa(), q, s, (s.len() / views, views), 1.0 / temperature);
    for ((row, s), q) in (first..).zip(s.chunks_mut(views)).zip(q.chunks_mut(views)) {
        // The computed exponential of minus infinity is not exactly 0.
        (s[row], q[row]) = (0.0, 0.0);
        q[pair(row)] -= 1.0;
        loss += s.iter().map(|&power| f64::from(power)).sum::<f64>().ln();
    }
    loss
}
