//! Assignments in equal shares.

use sempair::methods::sinkhorn::{Sinkhorn, assign};

use super::*;

pub const PAPER: Sinkhorn = Sinkhorn { epsilon: 0.05, iterations: 3 };

/// SwAV's authors' code in f64, with the largest score subtracted.
pub fn naive(scores: &[f32], prototypes: usize, batch: usize, sinkhorn: Sinkhorn) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let power = |s: &f32| ((f64::from(*s) - f64::from(largest)) / f64::from(sinkhorn.epsilon)).exp();
    let mut q: Vec<Vec<f64>> = scores.chunks(prototypes).map(|row| row.iter().map(power).collect()).collect();
    let rows = q.len() as f64;
    for _ in 0..sinkhorn.iterations {
        for k in 0..prototypes {
            let sum: f64 = q.iter().map(|row| row[k]).sum();
            q.iter_mut().for_each(|row| row[k] /= sum * prototypes as f64);
        }
        for row in &mut q {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|q| *q /= sum * rows);
        }
    }
    q[..batch].concat().iter().map(|q| q * rows).collect()
}

#[test]
fn assignments_are_the_naive_ones() {
    for (rows, batch, prototypes, iterations, epsilon) in [
        (1, 1, 3, 1, 0.05),
        (2, 2, 1, 3, 0.05),
        (7, 5, 4, 3, 0.05),
        (40, 40, 600, 3, 0.05),
        (90, 8, 30, 5, 0.05),
        (30, 30, 6, 3, 0.01),
        (9, 9, 5, 3, 0.004),
    ] {
        let scores = hard_rows(rows, prototypes, rows as u64);
        let sinkhorn = Sinkhorn { epsilon, iterations };
        let ours = assign(&scores, prototypes, batch, sinkhorn);
        let expected = naive(&scores, prototypes, batch, sinkhorn);
        assert_eq!(ours.len(), expected.len());
        // The result is rounded. In f64, scores divided by epsilon, a few hundred, lose no visible precision.
        let tolerance = EPS * 2.0;
        for (at, (&ours, expected)) in ours.iter().zip(expected).enumerate() {
            assert!((f64::from(ours) - expected).abs() <= tolerance, "{rows} rows, {at}: {ours} for {expected}");
        }
    }
}

#[test]
fn scores_that_would_overflow_are_assigned() {
    let mut scores: Vec<f32> = numbers(6 * 5, 1).iter().map(|s| 1e4 * s).collect();
    scores[10..15].fill(-1e6); // a row that has no mass compared to the others
    let q = assign(&scores, 5, 6, PAPER);
    for row in q.chunks(5) {
        assert!(row.iter().all(|q| (0.0..=1.0 + 1e-6).contains(q)), "{row:?}");
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
    }
}
