//! Functions that contrastive losses share: rows of unit length, and the softmax of a query's
//! similarities with its negatives.

use dfdx::prelude::*;
use rayon::prelude::*;

use crate::kernels::cpu::Isa;
use crate::kernels::cpu::isa;
use crate::kernels::cpu::matmul;
use crate::kernels::cpu::softmax;
use crate::methods::LossAndGrad;
use crate::methods::reduce::inner;
use crate::methods::reduce::largest;
use crate::methods::reduce::sum;
use crate::rng::Key;
use crate::tensor::Vectors;

/// Rows shorter than this are divided by it, as in PyTorch's `normalize`.
const SHORTEST: f64 = 1e-12;

/// The category of a row without a category. Such a row never has the same category as another.
pub const NO_CATEGORY: u32 = u32::MAX;

/// Replaces a similarity that does not count. It is so far below any cosine that its exponential is 0 in f32.
pub(super) const EXCLUDED: f32 = -1e30;

/// The rows of x (N, P), normalised to length 1.
pub(super) fn unit<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    x: Tensor<Vectors<P>, E, Cpu, T>,
) -> Tensor<Vectors<P>, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *x.shape();
    let square = x.retaped::<T>().square().sum::<(usize,), _>();
    let length = square.clamp(SHORTEST * SHORTEST, f64::MAX).sqrt();
    x / length.broadcast_like::<_, Axis<1>>(&shape)
}

/// a bᵀ of a (N, P) and b (M, P), the second without gradient.
pub(super) fn similarities<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    a: Tensor<Vectors<P>, E, Cpu, T>,
    b: Tensor<Vectors<P>, E, Cpu>,
) -> Tensor<(usize, usize), E, Cpu, T>
where
    Cpu: Device<E>,
{
    a.matmul(b.permute::<(Const<P>, usize), Axes2<1, 0>>())
}

/// A matrix (rows, columns) that is 1 where `one(row, column)` is true, and 0 elsewhere.
pub(super) fn indicator<E: Dtype>(
    device: &Cpu,
    (rows, columns): (usize, usize),
    one: impl Fn(usize, usize) -> bool,
) -> Tensor<(usize, usize), E, Cpu>
where
    Cpu: Device<E>,
{
    let number = |index: usize| if one(index / columns, index % columns) { E::from_f64(1.0) } else { E::from_f64(0.0) };
    let ones = (0..rows * columns).map(|index| number(index).expect("every float holds 0 and 1"));
    device.tensor_from_vec(ones.collect(), (rows, columns))
}

/// Whether two categories are known and equal.
pub(super) fn same(a: u32, b: u32) -> bool {
    a == b && a != NO_CATEGORY
}

/// Rows normalised to length 1, with their original lengths.
pub(super) struct UnitRows {
    /// (N, P).
    pub rows: Vec<f32>,
    lengths: Vec<f64>,
    dim: usize,
}

impl UnitRows {
    /// The rows of x (N, `dim`), each divided by the larger of its length and 1e-12.
    pub fn new(x: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && x.len().is_multiple_of(dim), "unit rows: {} numbers in rows of {dim}", x.len());
        let mut rows = vec![0.0; x.len()];
        let scale = |(row, x): (&mut [f32], &[f32])| {
            let length = inner(x, x).sqrt();
            row.iter_mut().zip(x).for_each(|(row, &x)| *row = (f64::from(x) / length.max(SHORTEST)) as f32);
            length
        };
        let lengths = rows.par_chunks_exact_mut(dim).zip(x.par_chunks_exact(dim)).map(scale).collect();
        Self { rows, lengths, dim }
    }

    /// The gradient with respect to x (N, P), given the gradient with respect to the unit rows.
    ///
    /// d(x / |x|) keeps only the part that is orthogonal to x. A row that was too short was divided by a constant.
    pub fn backward(&self, mut gradient: Vec<f32>) -> Vec<f32> {
        let rows = gradient.par_chunks_exact_mut(self.dim).zip(self.rows.par_chunks_exact(self.dim));
        rows.zip(&self.lengths).for_each(|((gradient, row), &length)| {
            let along = if length >= SHORTEST { inner(gradient, row) } else { 0.0 };
            for (gradient, &row) in gradient.iter_mut().zip(row) {
                *gradient = ((f64::from(*gradient) - along * f64::from(row)) / length.max(SHORTEST)) as f32;
            }
        });
        gradient
    }
}

/// `count` rows of width `dim` in random directions, of unit length.
pub(super) fn random_rows(key: Key, count: usize, dim: usize) -> Vec<f32> {
    let row = |index| {
        let mut stream = key.at(index as u64).stream();
        (0..dim).map(move |_| stream.normal())
    };
    UnitRows::new(&(0..count).flat_map(row).collect::<Vec<_>>(), dim).rows
}

/// The number of queries whose similarities are in memory at once: 2 MiB with 4,096 candidates. Packing the candidates
/// for each block costs little compared with the product.
const BLOCK: usize = 128;

/// The result of [`attend`] for each query.
pub(super) struct Attended<R> {
    /// (N, P): sum_j w_ij c_j.
    pub sums: Vec<f32>,
    /// (N): what `row` returned.
    pub rows: Vec<R>,
}

/// Computes weights w of candidates (M, P) for queries (N, P), and the sums of the candidates with these weights. The
/// weights are the softmax of s = q·c / t over the candidates, with the temperature t.
///
/// `exclude` receives the index of each query and its products q·c, and writes `EXCLUDED` where a candidate does not
/// count. `row` receives the index, the softmax, which it may replace by other weights, and log sum_j exp(s_j). If no
/// candidate counts, the softmax is zero and the logarithm is -∞.
pub(super) fn attend<R: Send>(
    queries: &[f32],
    candidates: &[f32],
    dim: usize,
    temperature: f32,
    exclude: impl Fn(usize, &mut [f32]) + Sync,
    row: impl Fn(usize, &mut [f32], f64) -> R + Sync,
) -> Attended<R> {
    let (height, columns) = (queries.len() / dim, candidates.len() / dim);
    assert!(height > 0 && columns > 0, "attend: {height} queries, {columns} candidates");
    let isa = isa();
    let mut attended = Attended { sums: vec![0.0; queries.len()], rows: Vec::with_capacity(height) };
    let mut weights = vec![0.0; height.min(BLOCK) * columns];
    let blocks = queries.chunks(BLOCK * dim).zip(attended.sums.chunks_mut(BLOCK * dim));
    for (block, (queries, sums)) in blocks.enumerate() {
        let height = queries.len() / dim;
        let weights = &mut weights[..height * columns];
        matmul::nt(weights, queries, candidates, height, dim, columns);
        let weigh = |scratch: &mut Vec<f32>, (index, weights): (usize, &mut [f32])| {
            let index = block * BLOCK + index;
            exclude(index, weights);
            scratch.resize(columns, 0.0);
            let log_sum = softmax_row(isa, weights, scratch, 1.0 / temperature);
            row(index, weights, log_sum)
        };
        attended.rows.par_extend(weights.par_chunks_exact_mut(columns).enumerate().map_init(Vec::new, weigh));
        matmul::nn(sums, weights, candidates, height, columns, dim);
    }
    attended
}

/// Replaces `row` by softmax(scale row) and returns log sum exp(scale row). `scratch` has the same length. If all
/// elements are excluded, `row` becomes zero and -∞ is returned.
pub(super) fn softmax_row(isa: Isa, row: &mut [f32], scratch: &mut [f32], scale: f32) -> f64 {
    if row.iter().all(|&x| x == EXCLUDED) {
        row.fill(0.0);
        return f64::NEG_INFINITY;
    }
    let largest = largest(row);
    softmax::softmax_rows(isa, scratch, row, (1, row.len()), scale);
    let log_sum = f64::from(largest * scale) + libm::log(sum(row, f64::from));
    row.copy_from_slice(scratch);
    log_sum
}

/// InfoNCE with one positive for each query and negatives that all queries share, in closed
/// form, averaged over the queries:
///
/// L = 1/N sum_i log(1 + sum_j exp((q_i·n_j - q_i·k_i) / t)),  ∂L/∂q_i = h_i / (N t) (sum_j w_ij n_j - k_i)
///
/// with h one minus the probability of the positive, and w the softmax over only the negatives. Positives (N, P) and
/// negatives (M, P) have unit length and no gradient; queries (N, P) are normalised to unit length.
pub(super) fn info_nce(
    queries: &[f32],
    positives: &[f32],
    negatives: &[f32],
    dim: usize,
    temperature: f32,
    exclude: impl Fn(usize, &mut [f32]) + Sync,
) -> LossAndGrad {
    assert!(queries.len() == positives.len(), "InfoNCE: {} query and {} key numbers", queries.len(), positives.len());
    let queries = UnitRows::new(queries, dim);
    let scale = f64::from(1.0 / temperature);
    let count = (queries.rows.len() / dim) as f64;
    let Attended { sums: mut gradient, rows: log_sums } =
        attend(&queries.rows, negatives, dim, temperature, exclude, |_, _, log_sum| log_sum);
    let mut value = 0.0;
    let pairs = queries.rows.chunks_exact(dim).zip(positives.chunks_exact(dim));
    for ((gradient, (query, positive)), log_sum) in gradient.chunks_exact_mut(dim).zip(pairs).zip(log_sums) {
        let behind = log_sum - scale * inner(query, positive);
        value += softplus(behind);
        let factor = scale * logistic(behind) / count;
        for (gradient, &positive) in gradient.iter_mut().zip(positive) {
            *gradient = (factor * (f64::from(*gradient) - f64::from(positive))) as f32;
        }
    }
    LossAndGrad { value: value / count, gradient: queries.backward(gradient) }
}

/// log(1 + e^x).
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// 1 / (1 + e^-x), the derivative of `softplus`.
pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
