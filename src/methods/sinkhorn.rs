//! Assignments of rows to columns (prototypes, classes) that share the rows equally: the targets of SwAV and DINOv2.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::reduce::{column_sums, largest, sum_pairs};

/// How assignments are computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sinkhorn {
    /// How soft the assignments are; 0.05 in SwAV's paper.
    pub epsilon: f32,
    /// Rounds of scaling; 3 in SwAV's paper.
    pub iterations: usize,
}

/// Equations 3 to 5 of SwAV's paper (Caron et al. 2020, <https://arxiv.org/abs/2006.09882>), by Sinkhorn's
/// algorithm: q = diag(u) exp(s / epsilon) diag(v), scaled in turn so that each column has 1/K of the
/// total, and each row has the sum 1.
///
/// scores s (N + M, K): those of the batch, then those of the rows that are assigned together with it.
/// Returns q (N, K) of the batch.
///
/// To avoid overflow, the exponentials are of each score minus the largest of its row, and of each row's largest minus
/// the largest of all. Differences of more than 600 epsilon count as 600 epsilon; cosines have no such differences
/// while epsilon is at least 0.004.
pub fn assign(scores: &[f32], prototypes: usize, batch: usize, sinkhorn: Sinkhorn) -> Vec<f32> {
    let rows = scores.len() / prototypes;
    assert!(scores.len() == rows * prototypes && batch <= rows, "assign: {} scores, batch {batch}", scores.len());
    let epsilon = f64::from(sinkhorn.epsilon);
    let behind = |score: f64, first: f64| libm::exp(((score - first) / epsilon).max(-600.0));
    let firsts: Vec<f64> = scores.par_chunks(prototypes).map(|row| f64::from(largest(row))).collect();
    let first = firsts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut of_row: Vec<f64> = firsts.iter().map(|&of_row| behind(of_row, first)).collect();
    let mut shares = vec![0.0; scores.len()];
    let of_rows = shares.par_chunks_mut(prototypes).zip(scores.par_chunks(prototypes)).zip(&firsts);
    of_rows.for_each(|((shares, scores), &first)| {
        shares.iter_mut().zip(scores).for_each(|(share, &score)| *share = behind(score.into(), first));
    });
    let mut of_column = vec![0.0; prototypes];
    for _ in 0..sinkhorn.iterations {
        let sums = column_sums(rows, prototypes, |row, columns, sums| {
            let shares = &shares[row * prototypes..][columns];
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += of_row[row] * share);
        });
        of_column = sums.iter().map(|sum| rows as f64 / (prototypes as f64 * sum)).collect();
        let masses = shares.par_chunks(prototypes).map(|shares| sum_pairs(shares, &of_column, |a, b| a * b));
        of_row = masses.map(|mass| 1.0 / mass).collect();
    }
    let of_batch = shares[..batch * prototypes].par_chunks(prototypes).zip(&of_row);
    of_batch
        .flat_map_iter(|(shares, of_row)| {
            shares.iter().zip(&of_column).map(move |(share, column)| (share * column * of_row) as f32)
        })
        .collect()
}
