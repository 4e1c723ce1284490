//! k nearest neighbours by cosine similarity: an evaluation of features without a fit.

use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::eval::Features;
use crate::eval::accuracy;
use crate::eval::check_pair;
use crate::kernels::cpu::matmul;

/// The result of k-NN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnnResult {
    /// Percent of the test images whose category is predicted correctly.
    pub accuracy: f64,
    /// The predicted category of each test image.
    pub predictions: Vec<u32>,
}

/// The number of test and training rows whose similarities are in memory at once: 4 MiB for each thread.
const TEST_BLOCK: usize = 256;
const TRAIN_BLOCK: usize = 4096;

/// One training image near a test image.
#[derive(Clone, Copy)]
struct Neighbour {
    similarity: f32,
    index: usize,
}

/// Predicts each test image from its `k` most similar training images; each votes for its category with weight
/// exp(similarity / `temperature`), or 1 without a temperature (Wu et al. 2018, <https://arxiv.org/abs/1805.01978>, use
/// 0.07). Among equally similar images, the first counts as nearer; among categories with equal votes, the first wins.
/// An image whose features are all zero has similarity 0 to every other image.
///
/// # Errors
/// When a feature is not finite, `k` is 0 or more than the number of training images, or the
/// temperature is not positive.
pub fn knn(train: &Features, test: &Features, k: usize, temperature: Option<f64>) -> Result<KnnResult> {
    check_pair(train, test)?;
    if k == 0 || k > train.rows() {
        return Err(Error::new(format!("k-NN with {k} neighbours, but the training set has {} images", train.rows()))
            .hint(format!("set `neighbours` to a number from 1 to {}", train.rows())));
    }
    if temperature.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
        return Err(Error::new(format!("k-NN with temperature {}", temperature.unwrap_or_default()))
            .hint("set `temperature` to a number above 0, such as 0.07"));
    }
    let dim = train.dim;
    let train_rows = unit_rows(&train.values, dim);
    let predictions: Vec<u32> = test
        .values
        .par_chunks(TEST_BLOCK * dim)
        .flat_map_iter(|block| {
            let nearest = nearest(&train_rows, &unit_rows(block, dim), dim, k);
            nearest.into_iter().map(|nearest| vote(&nearest, train, temperature))
        })
        .collect();
    Ok(KnnResult { accuracy: accuracy(&predictions, &test.labels), predictions })
}

/// For each of `queries`, which are positions in `features`, the most similar other image; among
/// equally similar images, the first.
///
/// # Panics
/// When there are fewer than two images, or a query is not a position in `features`.
pub fn most_similar(features: &Features, queries: &[usize]) -> Vec<usize> {
    assert!(features.rows() > 1, "{} image has no other", features.rows());
    let (rows, dim) = (unit_rows(&features.values, features.dim), features.dim);
    let of_block = |queries: &[usize]| {
        let block: Vec<f32> = queries.iter().flat_map(|&query| &rows[query * dim..][..dim]).copied().collect();
        // The query itself is one of its two nearest images, unless two others are equally near.
        let other = |(two, &query): (Vec<Neighbour>, &usize)| {
            two.iter().find(|near| near.index != query).map_or(query, |near| near.index)
        };
        nearest(&rows, &block, dim, 2).into_iter().zip(queries).map(other).collect::<Vec<_>>()
    };
    queries.par_chunks(TEST_BLOCK).flat_map_iter(of_block).collect()
}

/// The rows of x (N, D), normalised to length 1; zero rows stay zero.
fn unit_rows(x: &[f32], dim: usize) -> Vec<f32> {
    let mut unit = Vec::with_capacity(x.len());
    for row in x.chunks_exact(dim) {
        let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        unit.extend(row.iter().map(|&v| (f64::from(v) * scale) as f32));
    }
    unit
}

/// The `k` rows of `train` (N, D) most similar to each row of `test` (B, D), the nearest first.
fn nearest(train: &[f32], test: &[f32], dim: usize, k: usize) -> Vec<Vec<Neighbour>> {
    let rows = test.len() / dim;
    let mut nearest = vec![Vec::with_capacity(k + 1); rows];
    let mut similarities = vec![0.0; rows * TRAIN_BLOCK];
    for (block, train) in train.chunks(TRAIN_BLOCK * dim).enumerate() {
        let width = train.len() / dim;
        let similarities = &mut similarities[..rows * width]; // (B, width)
        matmul::nt(similarities, test, train, rows, dim, width);
        for (nearest, similarities) in nearest.iter_mut().zip(similarities.chunks_exact(width)) {
            for (j, &similarity) in similarities.iter().enumerate() {
                insert(nearest, k, Neighbour { similarity, index: block * TRAIN_BLOCK + j });
            }
        }
    }
    nearest
}

/// Keeps the `k` nearest neighbours in order. Candidates arrive in ascending index order, so
/// earlier neighbours win ties.
fn insert(nearest: &mut Vec<Neighbour>, k: usize, candidate: Neighbour) {
    if nearest.len() == k && candidate.similarity <= nearest[k - 1].similarity {
        return;
    }
    let place = nearest.partition_point(|near| near.similarity >= candidate.similarity);
    nearest.insert(place, candidate);
    nearest.truncate(k);
}

/// The category with the most weight among the neighbours.
fn vote(nearest: &[Neighbour], train: &Features, temperature: Option<f64>) -> u32 {
    let mut votes = vec![0.0; train.classes];
    for near in nearest {
        // Relative to the nearest neighbour: this does not change the order, and it cannot overflow.
        let behind = f64::from(near.similarity) - f64::from(nearest[0].similarity);
        votes[train.labels[near.index] as usize] += temperature.map_or(1.0, |t| libm::exp(behind / t));
    }
    let best = (1..votes.len()).fold(0, |best, class| if votes[class] > votes[best] { class } else { best });
    best as u32
}
