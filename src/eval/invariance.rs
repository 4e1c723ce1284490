//! The similarity of features before and after a change in the images.

use crate::error::Result;
use crate::eval::Features;
use crate::eval::check_pair;

/// The mean cosine between the rows of `before` and of `after`, (N, D) each, after the mean of the rows of `train` is
/// subtracted; from -1 to 1. A row that equals this mean counts as 0.
///
/// # Errors
/// When a feature is not finite.
///
/// # Panics
/// When sizes do not agree.
pub fn mean_cosine(train: &Features, before: &Features, after: &Features) -> Result<f64> {
    check_pair(train, before)?;
    check_pair(train, after)?;
    assert!(before.rows() == after.rows(), "{} images before and {} after", before.rows(), after.rows());
    let mean: Vec<f64> = (0..train.dim)
        .map(|d| (0..train.rows()).map(|i| f64::from(train.row(i)[d])).sum::<f64>() / train.rows() as f64)
        .collect();
    let centred = |row: &[f32]| -> Vec<f64> { row.iter().zip(&mean).map(|(&x, m)| f64::from(x) - m).collect() };
    let cosine = |i| cosine(&centred(before.row(i)), &centred(after.row(i)));
    Ok((0..before.rows()).map(cosine).sum::<f64>() / before.rows() as f64)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
