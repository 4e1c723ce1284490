//! The health of representations during training: whether they collapse to a point or to few dimensions.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::cpu::matmul;

use super::{Features, knn};

/// Measurements on pairs of images of one category. The images are not augmented, so training
/// does not see them in this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Epochs done.
    pub epoch: usize,
    /// Standard deviation of the unit-length projections, times the square root of their width: 1 if they spread over
    /// the whole sphere, 0 if all are equal.
    pub deviation: f64,
    /// RankMe of the features: see `effective_rank`.
    pub rank: f64,
    /// Mean squared distance of a pair's unit-length projections.
    pub alignment: f64,
    /// Logarithm of the mean of exp(-2 d²) over the distances d between unit-length projections of different pairs.
    /// Lower values are more uniform.
    pub uniformity: f64,
    /// Percent of the pairs' second images whose category k-NN on the features of the first images predicts correctly.
    pub knn: f64,
}

/// Below this deviation, projections differ by no more than a rounding error of bf16, so all count as equal.
const COLLAPSED: f64 = 1.0 / 256.0;

/// The number of neighbours that vote.
const NEIGHBOURS: usize = 5;

impl Health {
    /// Measures the health from projections (2N, width) and features of N pairs: all first
    /// images, then all second images.
    ///
    /// # Errors
    /// When a value is not finite.
    pub fn of(epoch: usize, projections: &[f32], width: usize, first: &Features, second: &Features) -> Result<Self> {
        let unit = unit_rows(projections, width);
        let all: Vec<f32> = first.values.iter().chain(&second.values).copied().collect();
        let neighbours = NEIGHBOURS.min(first.rows());
        Ok(Self {
            epoch,
            deviation: deviation(&unit, width),
            rank: effective_rank(&all, first.dim),
            alignment: alignment(&unit, width),
            uniformity: uniformity(&unit[..unit.len() / 2], width),
            knn: knn(first, second, neighbours, None)?.accuracy,
        })
    }

    /// Whether all projections are equal.
    pub fn collapsed(&self) -> bool {
        self.deviation < COLLAPSED
    }
}

fn unit_rows(x: &[f32], width: usize) -> Vec<f32> {
    let unit = |row: &[f32]| {
        let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(|&x| (f64::from(x) / length) as f32).collect::<Vec<_>>()
    };
    x.chunks_exact(width).flat_map(unit).collect()
}

/// The root mean square of the standard deviations of all columns of unit-length rows, times the square root of the
/// width (Chen and He 2021, section 4.1, <https://arxiv.org/abs/2011.10566>).
fn deviation(unit: &[f32], width: usize) -> f64 {
    let rows = (unit.len() / width) as f64;
    let of_column = |column: usize| {
        let values = || unit.iter().skip(column).step_by(width).map(|&x| f64::from(x));
        let mean = values().sum::<f64>() / rows;
        values().map(|x| (x - mean).powi(2)).sum::<f64>() / rows
    };
    (0..width).map(of_column).sum::<f64>().sqrt()
}

/// RankMe (Garrido et al. 2023, <https://arxiv.org/abs/2210.02885>, equation 1): the exponential of the entropy of the
/// singular values of x (N, width) as shares of their sum. It lies between 1 and the smaller of both sizes.
pub fn effective_rank(x: &[f32], width: usize) -> f64 {
    let rows = x.len() / width;
    // Singular values are the square roots of the eigenvalues of both x x' and x' x. The smaller matrix is used.
    let small = rows.min(width);
    let mut gram = vec![0.0; small * small];
    if width <= rows {
        matmul::tn(&mut gram, x, x, width, rows, width);
    } else {
        matmul::nt(&mut gram, x, x, rows, width, rows);
    }
    let gram = DMatrix::from_iterator(small, small, gram.iter().map(|&x| f64::from(x)));
    let values: Vec<f64> = gram.symmetric_eigenvalues().iter().map(|&value| value.max(0.0).sqrt()).collect();
    let sum = values.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let entropy: f64 = values.iter().map(|value| value / sum + 1e-7).map(|share| -share * libm::log(share)).sum();
    libm::exp(entropy)
}

/// Alignment of Wang and Isola 2020, <https://arxiv.org/abs/2005.10242>, equation 3 with exponent 2. Rows i and i + N
/// are a pair.
fn alignment(unit: &[f32], width: usize) -> f64 {
    let (first, second) = unit.split_at(unit.len() / 2);
    let distance: f64 = first.iter().zip(second).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    distance / (first.len() / width) as f64
}

/// Uniformity of the same paper, equation 5 with t = 2, over all pairs of different rows.
fn uniformity(unit: &[f32], width: usize) -> f64 {
    let rows = unit.len() / width;
    let mut similarities = vec![0.0; rows * rows];
    matmul::nt(&mut similarities, unit, unit, rows, width, rows);
    let potential = |(at, &s): (usize, &f32)| {
        if at / rows < at % rows { libm::exp(-2.0 * (2.0 - 2.0 * f64::from(s))) } else { 0.0 }
    };
    let sum: f64 = similarities.iter().enumerate().map(potential).sum();
    libm::log(sum / (rows * (rows - 1) / 2).max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(values: Vec<f32>, labels: Vec<u32>) -> Features {
        let dim = values.len() / labels.len();
        Features::new(values, labels, dim, 4).unwrap()
    }

    #[test]
    fn the_rank_of_directions_of_equal_weight_is_their_number() {
        let identity: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
        assert!((effective_rank(&identity, 4) - 4.0).abs() < 1e-4);
        let wide: Vec<f32> = (0..32).map(|i| f32::from(u8::from(i % 9 == 0))).collect(); // (4, 8)
        assert!((effective_rank(&wide, 8) - 4.0).abs() < 1e-4);
        assert!((effective_rank(&[1.0, 2.0, 3.0, 2.0, 4.0, 6.0], 3) - 1.0).abs() < 1e-3);
        // Singular values 3 and 1: exp of the entropy of 3/4 and 1/4.
        let expected = libm::exp(-(0.75 * libm::log(0.75) + 0.25 * libm::log(0.25)));
        assert!((effective_rank(&[3.0, 0.0, 0.0, 1.0], 2) - expected).abs() < 1e-4);
    }

    #[test]
    fn one_point_is_a_collapse_and_a_spread_is_none() {
        let labels: Vec<u32> = vec![0, 1, 2, 3];
        let same = features([1.0, 2.0, 3.0].repeat(4), labels.clone());
        let health = Health::of(1, &[0.3, 0.4, 0.5].repeat(8), 3, &same, &same).unwrap();
        assert!(health.collapsed() && health.alignment == 0.0 && health.uniformity.abs() < 1e-6);
        let axes: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
        let apart = features(axes.clone(), labels);
        let health = Health::of(1, &axes.repeat(2), 4, &apart, &apart).unwrap();
        assert!(!health.collapsed());
        // Columns hold a 1 in four rows: variance 3/16 each.
        assert!((health.deviation - (4.0_f64 * 3.0 / 16.0).sqrt()).abs() < 1e-6);
        assert!((health.uniformity - -4.0).abs() < 1e-6); // all squared distances are 2
    }
}
