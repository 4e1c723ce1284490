//! How far average precision would vary with another sample of test images: the bootstrap over images (Efron and
//! Tibshirani 1993, chapters 6 and 13).
//!
//! A replicate draws as many images as there are, with replacement; each image is in it with all its objects and
//! detections. Matching happens inside an image, so a replicate only counts the same marks with other weights.
//!
//! The interval is the estimate +- 1.96 standard errors, not the percentiles of the replicates: repeated images have
//! equal scores, and the interpolated precision is a maximum, so replicates are better than the estimate on average.

use rayon::prelude::*;

use crate::eval::average_precision::AveragePrecision;
use crate::eval::average_precision::Interpolation;
use crate::eval::matching::Marks;
use crate::rng::Key;

/// The 97.5 % quantile of the normal distribution.
const QUANTILE: f64 = 1.96;

/// Average precision on a set of images and on replicates of it. The images in a replicate depend only on the key and
/// the number of images, so that replicates of several detectors on the same images can be compared one by one.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicates {
    /// Average precision on the images themselves.
    estimate: AveragePrecision,
    /// On each replicate; none where no image of the replicate has an object that counts.
    values: Vec<Option<AveragePrecision>>,
    drawn_from: Source,
}

/// What two results must share to be compared.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    key: Key,
    images: usize,
    /// Number of objects that count, by category.
    objects: Vec<usize>,
}

impl Replicates {
    /// Draws `count` replicates.
    pub fn new(marks: &Marks, interpolation: Interpolation, count: usize, key: Key) -> Self {
        let images = marks.images;
        let replicate = |i: usize| marks.weighted(&weights(key.at(i as u64), images), interpolation);
        let objects = marks.classes.iter().map(|class| class.objects.len()).collect();
        Self {
            estimate: marks.result(interpolation).mean,
            values: (0..count).into_par_iter().map(replicate).collect(),
            drawn_from: Source { key, images, objects },
        }
    }

    /// The mean of several trainings (seeds), which all see the same replicates of the images.
    ///
    /// # Panics
    /// When there is none, or they differ in key, count or images.
    pub fn mean(seeds: &[Self]) -> Self {
        let first = seeds.first().expect("a mean of at least one seed");
        seeds.iter().for_each(|seed| first.check(seed));
        let mean = |values: Vec<AveragePrecision>| AveragePrecision::mean(&values);
        let value = |i: usize| seeds.iter().map(|seed| seed.values[i]).collect::<Option<_>>().and_then(mean);
        let estimate = mean(seeds.iter().map(|seed| seed.estimate).collect()).expect("at least one seed");
        Self { estimate, values: (0..first.values.len()).map(value).collect(), ..first.clone() }
    }

    /// The difference to another result on the same images, in each replicate: paired, so that what both results share
    /// cancels.
    ///
    /// # Panics
    /// When they differ in key, count or images.
    pub fn minus(&self, other: &Self) -> Self {
        self.check(other);
        let minus = |a: AveragePrecision, b: AveragePrecision| AveragePrecision::each(|read| read(&a) - read(&b));
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a.zip(*b).map(|(a, b)| minus(a, b)));
        Self { estimate: minus(self.estimate, other.estimate), values: values.collect(), ..self.clone() }
    }

    /// Average precision on the images themselves, the mean of seeds or the difference of results.
    pub fn estimate(&self) -> AveragePrecision {
        self.estimate
    }

    /// The standard deviation of the replicates; none with fewer than two images or replicates.
    pub fn standard_error(&self) -> Option<AveragePrecision> {
        let values: Vec<AveragePrecision> = self.values.iter().copied().flatten().collect();
        let enough = self.drawn_from.images > 1 && values.len() > 1;
        enough.then(|| AveragePrecision::each(|read| deviation(&values.iter().map(read).collect::<Vec<_>>())))
    }

    /// The 95 % interval, from low to high, without limits at 0 and 100; none where there is no standard error.
    pub fn interval(&self) -> Option<(AveragePrecision, AveragePrecision)> {
        let error = self.standard_error()?;
        let bound = |sign: f64| AveragePrecision::each(|read| read(&self.estimate) + sign * QUANTILE * read(&error));
        Some((bound(-1.0), bound(1.0)))
    }

    fn check(&self, other: &Self) {
        let of = |one: &Self| (one.values.len(), one.drawn_from.clone());
        assert!(of(self) == of(other), "results on different replicates: {:?} and {:?}", of(self), of(other));
    }
}

/// How often each of `images` is drawn in that many draws with replacement.
fn weights(key: Key, images: usize) -> Vec<u64> {
    let (mut weights, mut stream) = (vec![0; images], key.stream());
    (0..images).for_each(|_| weights[stream.below(images)] += 1);
    weights
}

/// The standard deviation of a sample of at least two.
fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Multinomial: each weight has mean 1 and variance 1 - 1/n, and two weights have covariance -1/n.
    #[test]
    fn weights_are_multinomial() {
        let draws = 40_000;
        let all: Vec<Vec<u64>> = (0..draws).map(|i| weights(Key::root(6).at(i), 5)).collect();
        assert!(all.iter().all(|weights| weights.iter().sum::<u64>() == 5));
        let mean = |product: fn(&[u64]) -> u64| all.iter().map(|w| product(w)).sum::<u64>() as f64 / draws as f64;
        let (first, last) = (mean(|w| w[0]), mean(|w| w[4]));
        assert!((first - 1.0).abs() < 0.02 && (last - 1.0).abs() < 0.02, "{first}, {last}");
        let (square, product) = (mean(|w| w[0] * w[0]), mean(|w| w[0] * w[4]));
        assert!((square - 1.8).abs() < 0.05 && (product - 0.8).abs() < 0.03, "{square}, {product}");
    }
}
