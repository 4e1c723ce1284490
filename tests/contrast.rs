//! Losses of the methods: closed forms against their definitions in dfdx with f64 and against PyTorch's numbers, and
//! the state that the methods keep between steps against naive versions.

mod deepcluster_v2;
mod hard_negatives;
mod moco_v2;
mod moco_v3;
mod pieces;
mod pirl;

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, Rank0, Tensor, TensorFromVec, Trace};
use sempair::methods::LossAndGrad;
use sempair::rng::Key;
use sempair::tensor::{Const, Vectors};

/// Rows that a loss takes, in f64.
type Rows<const P: usize> = Tensor<Vectors<P>, f64, Cpu>;
/// The same on a tape.
type Traced<const P: usize> = Tensor<Vectors<P>, f64, Cpu, OwnedTape<f64, Cpu>>;
/// A loss on a tape.
type Loss = Tensor<Rank0, f64, Cpu, OwnedTape<f64, Cpu>>;

/// Numbers on a coarse grid, exact in every format: `((arange(len) * step) % 11 - 5) / 4` in PyTorch.
fn grid(step: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * step) % 11) as f32 / 4.0 - 1.25).collect()
}

fn normals(seed: u64, len: usize) -> Vec<f32> {
    let mut stream = Key::root(seed).split("methods").stream();
    (0..len).map(|_| stream.normal()).collect()
}

/// Random rows. If there are more than two, the first is zero, two are tiny (1e-8 is above the shortest length, 1e-14
/// below) and two are equal.
fn hostile(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
    let mut x = normals(seed, rows * dim);
    if rows > 2 {
        let scale = |x: &mut [f32], factor: f32| x.iter_mut().for_each(|x| *x *= factor);
        scale(&mut x[..dim], 0.0);
        scale(&mut x[dim..2 * dim], 1e-8);
        scale(&mut x[2 * dim..3 * dim], 1e-14);
        x.copy_within((rows - 1) * dim.., (rows - 2) * dim);
    }
    x
}

/// The rows of x scaled to length 1, computed in f64 and rounded.
fn unit_rows(x: &[f32], dim: usize) -> Vec<f32> {
    let unit = |row: &[f32]| {
        let length = length(row).max(1e-12);
        row.iter().map(move |&x| (f64::from(x) / length) as f32).collect::<Vec<_>>()
    };
    x.chunks_exact(dim).flat_map(unit).collect()
}

fn length(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// `count` random categories below `of`.
fn categories(seed: u64, count: usize, of: usize) -> Vec<u32> {
    let mut stream = Key::root(seed).split("categories").stream();
    (0..count).map(|_| stream.below(of) as u32).collect()
}

fn rows<const P: usize>(x: &[f32]) -> Rows<P> {
    Cpu::default().tensor_from_vec(x.iter().map(|&x| f64::from(x)).collect(), (x.len() / P, Const))
}

/// Value and gradient of a definition at x (N, P).
fn differentiate<const P: usize>(x: &[f32], loss: impl FnOnce(Traced<P>) -> Loss) -> (f64, Vec<f64>) {
    let x = rows::<P>(x);
    let loss = loss(x.leaky_trace());
    let value = loss.array();
    (value, loss.backward().get(&x).as_vec())
}

/// Bounds the errors of a closed form in f32.
#[derive(Clone, Copy)]
struct Precision {
    /// P, the terms of a similarity.
    dim: usize,
    /// Terms of a sum over candidates.
    candidates: usize,
    /// The divisor of the similarities.
    temperature: f32,
    /// The factor by which the loss multiplies the mean log-likelihood.
    factor: f64,
    /// A bound of the sum of one row's absolute slopes with respect to its similarities.
    slope: f64,
}

impl Precision {
    /// Bounds the error of a logit. Two rounded unit rows and their product in P steps are within (P + 2) eps of the
    /// similarity, in units of the temperature. eps is twice the unit roundoff, which leaves room for the exponential's
    /// error of two units in the last place.
    fn of_a_logit(self) -> f64 {
        f64::from(f32::EPSILON) * (self.dim + 4) as f64 / f64::from(self.temperature)
    }

    /// The error of a log-likelihood is at most the errors of two logits, times the loss's factor.
    fn check_value(self, ours: f64, expected: f64) {
        let tolerance = self.factor * 2.0 * self.of_a_logit();
        assert!((ours - expected).abs() <= tolerance, "value {ours}, expected {expected}, tolerance {tolerance}");
    }

    /// The error of a softmax weight is the sum of the errors of its logit and of the softmax's sum. A sum of
    /// candidates has one rounding for each term. A row's gradient is bounded by its slope divided by its length.
    fn check_gradient(self, x: &[f32], ours: &[f32], expected: &[f64]) {
        assert_eq!(ours.len(), expected.len());
        let sums = f64::from(f32::EPSILON) * (self.candidates + self.dim + 4) as f64;
        for (index, (&ours, &expected)) in ours.iter().zip(expected).enumerate() {
            let length = length(&x[index / self.dim * self.dim..][..self.dim]).max(1e-12);
            let tolerance = self.slope / length * (4.0 * self.of_a_logit() + sums);
            let difference = (f64::from(ours) - expected).abs();
            assert!(difference <= tolerance, "gradient {index}: {ours}, expected {expected}, tolerance {tolerance}");
        }
    }

    fn check(self, x: &[f32], ours: &LossAndGrad, (value, gradient): (f64, Vec<f64>)) {
        self.check_value(ours.value, value);
        self.check_gradient(x, &ours.gradient, &gradient);
    }
}

/// Runs `loss` on pools of several numbers of threads and asserts that all results have the same bits.
fn same_bits_on_any_threads(loss: impl Fn() -> LossAndGrad + Sync) {
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let LossAndGrad { value, gradient } = pool.install(&loss);
        (value.to_bits(), gradient.iter().map(|g| g.to_bits()).collect::<Vec<_>>())
    };
    let alone = bits(1);
    assert!([2, 3, 8].into_iter().all(|threads| bits(threads) == alone));
}
