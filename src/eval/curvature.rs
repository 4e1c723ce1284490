//! An approximation of the curvature of the linear probe's objective, with which L-BFGS starts.
//!
//! With the probabilities p_i of image i, the Hessian with respect to W is
//!
//!   1/N sum_i (diag(p_i) - p_i p_i') (x) x_i x_i' + penalty I.
//!
//! Böhning (1992, <https://doi.org/10.1007/BF00048682>) bounds it by replacing the first factor with 1/2 (I - 11'/C).
//! The mean of the first factor over the images, c (I - 11'/C) with c = mean_i (1 - |p_i|^2) / (C - 1), is closer to
//! it. Gradients sum to zero over the categories, so the matrix I can replace I - 11'/C. The result is one matrix for
//! all categories, c S + penalty I with S = X'X / N. Standardised features have mean zero, so the biases are separate,
//! with curvature c.
//!
//! S is used exactly along its [`RANK`] leading directions; along all other directions it is replaced by a constant.
//! With at most that many features, nothing is lost.

use rayon::prelude::*;

use crate::kernels::cpu::matmul;
use crate::rng::Key;

/// The number of feature directions that are distinguished.
const RANK: usize = 256;
/// A row counts as linearly dependent if less than this share of its square is left after the
/// earlier rows are subtracted.
const DEPENDENT: f64 = 1e-10;

/// S = X'X / N: exact along some orthogonal directions, a constant elsewhere.
pub struct Spread {
    dim: usize,
    /// (R, D), orthonormal rows, or zero; `None` for the axes themselves, R = D.
    directions: Option<Vec<f32>>,
    /// S along the directions, (R, R).
    within: Vec<f64>,
    /// The mean of S along the other directions.
    elsewhere: f64,
}

impl Spread {
    /// The spread of standardised features x (N, D).
    pub fn of(x: &[f32], dim: usize) -> Self {
        Self::with_rank(x, dim, RANK)
    }

    fn with_rank(x: &[f32], dim: usize, rank: usize) -> Self {
        let n = x.len() / dim;
        if dim <= rank {
            return Self { dim, directions: None, within: second_moments(x, n, dim), elsewhere: 0.0 };
        }
        let rank = rank.min(n);
        let directions = leading_directions(x, n, dim, rank);
        let mut projections = vec![0.0; n * rank]; // (N, R)
        matmul::nt(&mut projections, x, &directions, n, dim, rank);
        let within = second_moments(&projections, n, rank);
        let squares: Vec<f64> = x.par_chunks(dim).map(|row| dot(row, row)).collect();
        let left = squares.into_iter().sum::<f64>() / n as f64 - trace(&within, rank);
        Self { dim, directions: Some(directions), within, elsewhere: left.max(0.0) / (dim - rank) as f64 }
    }

    /// The curvature where the mean of 1 - |p|^2 over the images is `doubt`.
    pub fn curvature(&self, doubt: f64, penalty: f64, classes: usize) -> Curvature<'_> {
        let softmax = (doubt / (classes.max(2) - 1) as f64).max(f64::from(f32::EPSILON));
        let rank = self.within.len().isqrt();
        // S has the rounding errors of f32, which must not destroy its positive definiteness.
        let penalty = penalty.max(f64::from(f32::EPSILON) * softmax * trace(&self.within, rank));
        let mut within: Vec<f64> = self.within.iter().map(|s| softmax * s).collect();
        (0..rank).for_each(|r| within[r * rank + r] += penalty);
        let mut inverse = inverse(&within, rank);
        let elsewhere = self.directions.as_ref().map_or(0.0, |_| 1.0 / (softmax * self.elsewhere + penalty));
        (0..rank).for_each(|r| inverse[r * rank + r] -= elsewhere);
        Curvature { spread: self, classes, softmax, elsewhere, within: inverse.into_iter().map(|v| v as f32).collect() }
    }
}

/// A matrix near the Hessian, in a form with which vectors can be divided by it.
pub struct Curvature<'s> {
    spread: &'s Spread,
    classes: usize,
    /// c.
    softmax: f64,
    /// The inverse along the other directions; 0 if there are none.
    elsewhere: f64,
    /// The inverse along the directions, minus `elsewhere`, (R, R).
    within: Vec<f32>,
}

impl Curvature<'_> {
    /// The inverse times a vector (C D + C).
    pub fn divide(&self, vector: &[f64]) -> Vec<f64> {
        let (matrix, biases) = vector.split_at(self.classes * self.spread.dim);
        let along = self.along_directions(matrix);
        let matrix = matrix.iter().zip(along).map(|(v, along)| v * self.elsewhere + f64::from(along));
        matrix.chain(biases.iter().map(|v| v / self.softmax)).collect()
    }

    /// The part of the product that comes from `within`, (C, D).
    fn along_directions(&self, matrix: &[f64]) -> Vec<f32> {
        let (c, d) = (self.classes, self.spread.dim);
        let matrix: Vec<f32> = matrix.iter().map(|&v| v as f32).collect();
        let mut divided = vec![0.0; c * d];
        let Some(directions) = &self.spread.directions else {
            matmul::nn(&mut divided, &matrix, &self.within, c, d, d);
            return divided;
        };
        let rank = directions.len() / d;
        let (mut along, mut divided_along) = (vec![0.0; c * rank], vec![0.0; c * rank]);
        matmul::nt(&mut along, &matrix, directions, c, d, rank);
        matmul::nn(&mut divided_along, &along, &self.within, c, rank, rank);
        matmul::nn(&mut divided, &divided_along, directions, c, rank, d);
        divided
    }
}

/// Orthonormal rows (R, D) near the leading directions of x (N, D): random directions, turned towards them by a product
/// with S (Halko, Martinsson and Tropp 2011, Algorithm 4.3, <https://doi.org/10.1137/090771806>).
fn leading_directions(x: &[f32], n: usize, dim: usize, rank: usize) -> Vec<f32> {
    let mut stream = Key::root(0).split("directions").stream();
    let mut directions: Vec<f32> = (0..rank * dim).map(|_| stream.normal()).collect();
    let mut projections = vec![0.0; n * rank]; // (N, R)
    matmul::nt(&mut projections, x, &directions, n, dim, rank);
    matmul::tn(&mut directions, &projections, x, rank, n, dim);
    orthonormal(&directions, dim)
}

/// X'X / N (D, D) of x (N, D).
fn second_moments(x: &[f32], n: usize, d: usize) -> Vec<f64> {
    let mut sums = vec![0.0; d * d];
    matmul::tn(&mut sums, x, x, d, n, d);
    sums.into_iter().map(|sum| f64::from(sum) / n as f64).collect()
}

fn trace(a: &[f64], n: usize) -> f64 {
    (0..n).map(|i| a[i * n + i]).sum()
}

/// Orthonormal rows with the same span as `rows` (R, D), and zero for a row that is linearly
/// dependent on the earlier rows.
fn orthonormal(rows: &[f32], dim: usize) -> Vec<f32> {
    let count = rows.len() / dim;
    // Products are f32, so one pass leaves an error of 1e-7 times the condition number, and two passes one of 1e-7.
    (0..2).fold(rows.to_vec(), |rows, _| {
        let product = |at: usize| dot(&rows[at / count * dim..][..dim], &rows[at % count * dim..][..dim]);
        let products: Vec<f64> = (0..count * count)
            .into_par_iter()
            .map(|at| if at % count > at / count { 0.0 } else { product(at) })
            .collect();
        let whitening: Vec<f32> = whitening(&products, count).into_iter().map(|value| value as f32).collect();
        let mut unit = vec![0.0; rows.len()];
        matmul::nn(&mut unit, &whitening, &rows, count, count, dim);
        unit
    })
}

/// The lower triangular M (N, N) with M A M' = I: the inverse of A's Cholesky factor. Only the lower half of A is read.
/// Rows of A that are linearly dependent on earlier rows give rows of zeros.
fn whitening(a: &[f64], n: usize) -> Vec<f64> {
    let mut factor = vec![0.0; n * n];
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let (row, earlier) = (&factor[i * n..][..j], &factor[j * n..][..j]);
            let left = a[i * n + j] - row.iter().zip(earlier).map(|(x, y)| x * y).sum::<f64>();
            let pivot = factor[j * n + j];
            factor[i * n + j] = match j < i {
                true if pivot > 0.0 => left / pivot,
                false if left > DEPENDENT * a[i * n + i] => left.sqrt(),
                _ => 0.0,
            };
        }
        let pivot = factor[i * n + i];
        if pivot > 0.0 {
            let (done, row) = inverse.split_at_mut(i * n);
            for (earlier, coefficient) in done.chunks_exact(n).zip(&factor[i * n..][..i]) {
                row.iter_mut().zip(earlier).for_each(|(to, x)| *to -= coefficient * x);
            }
            row[i] = 1.0;
            row[..=i].iter_mut().for_each(|value| *value /= pivot);
        }
    }
    inverse
}

/// The inverse of a symmetric, positive definite matrix (N, N): M'M.
fn inverse(a: &[f64], n: usize) -> Vec<f64> {
    let whitening = whitening(a, n);
    let mut inverse = vec![0.0; n * n];
    for row in whitening.chunks_exact(n) {
        for (to, &left) in inverse.chunks_exact_mut(n).zip(row).filter(|(_, left)| **left != 0.0) {
            to.iter_mut().zip(row).for_each(|(to, right)| *to += left * right);
        }
    }
    inverse
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|lane| sums[lane] += f64::from(a[lane]) * f64::from(b[lane]));
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    sums.into_iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(key: u64, count: usize) -> Vec<f32> {
        let mut stream = Key::root(key).stream();
        (0..count).map(|_| stream.normal()).collect()
    }

    /// (c S + penalty I) times each row of v (C, D), and c times the biases, computed as sums over images.
    fn multiply(x: &[f32], dim: usize, classes: usize, (softmax, penalty): (f64, f64), v: &[f64]) -> Vec<f64> {
        let n = (x.len() / dim) as f64;
        let (matrix, biases) = v.split_at(classes * dim);
        let row = |row: &[f64]| {
            let mut product: Vec<f64> = row.iter().map(|v| penalty * v).collect();
            for image in x.chunks_exact(dim) {
                let score: f64 = image.iter().zip(row).map(|(&x, v)| f64::from(x) * v).sum();
                product.iter_mut().zip(image).for_each(|(to, &x)| *to += softmax / n * score * f64::from(x));
            }
            product
        };
        matrix.chunks_exact(dim).flat_map(row).chain(biases.iter().map(|b| softmax * b)).collect()
    }

    // Nothing is lost with all directions, or with as many directions as images, one of which depends on the others.
    #[test]
    fn dividing_undoes_multiplying() {
        for (n, dim, rank) in [(200, 40, 40), (20, 50, 30)] {
            let mut x = normal(1, n * dim);
            for j in 0..dim {
                let mean = (0..n).map(|i| x[i * dim + j]).sum::<f32>() / n as f32;
                (0..n).for_each(|i| x[i * dim + j] -= mean);
            }
            let v: Vec<f64> = normal(2, 3 * dim + 3).into_iter().map(f64::from).collect();
            let spread = Spread::with_rank(&x, dim, rank);
            let product = multiply(&x, dim, 3, (0.25, 0.1), &spread.curvature(0.5, 0.1, 3).divide(&v));
            // Eigenvalues of S stay below (1 + (D/N)^0.5)^2, 7 at most, so the condition is below 20; sums of 50 f32.
            let error = product.iter().zip(&v).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < 20.0 * 50.0 * f64::from(f32::EPSILON), "({n}, {dim}) of {rank} directions: {error}");
        }
    }

    #[test]
    fn with_few_directions_dividing_stays_symmetric_and_positive() {
        let (dim, classes) = (90, 2);
        // Variances fall from 1 to 1/90^2.
        let x: Vec<f32> = normal(3, 150 * dim).iter().enumerate().map(|(i, x)| x / (1 + i % dim) as f32).collect();
        let spread = Spread::with_rank(&x, dim, 12);
        let curvature = spread.curvature(0.5, 1e-2, classes);
        let [u, v] =
            [4, 5].map(|key| -> Vec<f64> { normal(key, classes * dim + classes).into_iter().map(f64::from).collect() });
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (of_u, of_v) = (curvature.divide(&u), curvature.divide(&v));
        // Each of 180 terms is below 10 / penalty, in f32.
        assert!((dot(&u, &of_v) - dot(&v, &of_u)).abs() < 180.0 * 1e3 * f64::from(f32::EPSILON));
        assert!(dot(&u, &of_u) > 0.0 && dot(&v, &of_v) > 0.0);
        // 12 of 90 directions leave only a small part here, so the inverse is near.
        let error = multiply(&x, dim, classes, (0.5, 1e-2), &of_v);
        let missed: f64 = error.iter().zip(&v).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / dot(&v, &v);
        assert!(missed < 0.05, "{missed}");
    }

    #[test]
    fn whitening_leaves_out_what_depends() {
        // Rows 0 and 2 span the plane; row 1 is twice row 0.
        let rows = [[1.0, 2.0], [2.0, 4.0], [0.0, 3.0]];
        let products: Vec<f64> = rows.iter().flat_map(|a| rows.map(|b| a[0] * b[0] + a[1] * b[1])).collect();
        let m = whitening(&products, 3);
        let unit: Vec<[f64; 2]> =
            m.chunks_exact(3).map(|m| [0, 1].map(|k| (0..3).map(|i| m[i] * rows[i][k]).sum())).collect();
        assert_eq!(unit[1], [0.0, 0.0]);
        let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
        let off = [dot(unit[0], unit[0]) - 1.0, dot(unit[2], unit[2]) - 1.0, dot(unit[0], unit[2])];
        assert!(off.iter().all(|off| off.abs() < 1e-14), "{off:?}");
    }
}
