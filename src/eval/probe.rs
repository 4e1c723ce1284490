//! The linear probe: multinomial logistic regression on frozen, standardised features.
//!
//! With standardised features x_i, labels y_i, weights W (C, D) and biases b (C) it minimises
//!
//!   1/N sum_i -log softmax(W x_i + b)[y_i] + penalty/2 |W|^2,
//!
//! in which the biases are not penalised. This is scikit-learn's `LogisticRegression` with C = 1 / (N penalty). L-BFGS
//! starts from an approximation of the curvature by the features' second moments (`curvature`), and therefore needs
//! tens of steps instead of hundreds.

use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::eval::Features;
use crate::eval::accuracy;
use crate::eval::check_pair;
use crate::eval::curvature::Spread;
use crate::eval::lbfgs::Minimum;
use crate::eval::lbfgs::Stop;
use crate::eval::lbfgs::minimise;
use crate::kernels::cpu::isa;
use crate::kernels::cpu::linear;
use crate::kernels::cpu::linear::Added;
use crate::kernels::cpu::matmul;
use crate::kernels::cpu::softmax::softmax_rows;
use crate::rng::Key;

/// How frozen features are evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// Candidate L2 penalties, each above 0; the one with the highest accuracy on the held-out part is used.
    pub penalties: Vec<f64>,
    /// Share of the training images of each category that is held out to choose the penalty, above 0 and below 1.
    pub held_out: f32,
    /// Maximum number of L-BFGS steps of one fit.
    pub iterations: usize,
    /// A fit has converged when no component of its gradient exceeds this.
    pub tolerance: f64,
    /// k of k-NN.
    pub neighbours: usize,
    /// Temperature of the votes of k-NN; 0 gives each neighbour one vote.
    pub temperature: f64,
}

/// The result of the probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Percent of the test images whose category the last iterate predicts correctly.
    pub accuracy: f64,
    /// The penalty chosen.
    pub penalty: f64,
    /// Each candidate with its accuracy in percent on the held-out part, from the largest penalty to the smallest;
    /// empty when there was only one candidate.
    pub held_out_accuracy: Vec<(f64, f64)>,
    /// The predicted category of each test image.
    pub predictions: Vec<u32>,
    /// Whether the last fit converged.
    pub converged: bool,
    /// Steps of the last fit.
    pub iterations: usize,
}

/// Fits on `train` and predicts `test`.
///
/// The penalty is chosen on a part of `train`, stratified by category and drawn by `key`; among equally accurate
/// penalties, the largest is used. Then everything is refitted on all of `train`. `test` is used last, and only
/// for prediction. Standardisation uses the mean and deviation of the images of the fit; features that are
/// constant on these images count as zero.
///
/// # Errors
/// When a feature is not finite, a setting is out of its range, or no category has the two images that a held-out part
/// needs.
pub fn linear_probe(train: &Features, test: &Features, settings: &ProbeSettings, key: Key) -> Result<ProbeResult> {
    check_pair(train, test)?;
    settings.check()?;
    let choice = choose(train, settings, key)?;
    let all: Vec<usize> = (0..train.rows()).collect();
    let scaling = Scaling::of(train, &all);
    let set = Set::new(train, &all, &scaling);
    let last = fit(&set, &Spread::of(&set.x, set.dim), choice.penalty, choice.start, settings);
    let test_rows: Vec<usize> = (0..test.rows()).collect();
    let predictions = Set::new(test, &test_rows, &scaling).predict(&last.at);
    Ok(ProbeResult {
        accuracy: accuracy(&predictions, &test.labels),
        penalty: choice.penalty,
        held_out_accuracy: choice.held_out_accuracy,
        predictions,
        converged: last.converged,
        iterations: last.iterations,
    })
}

impl ProbeSettings {
    /// Refuses values with which no fit is possible.
    ///
    /// # Errors
    /// The error names the field, its value and the possible values.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, value: String, range: &str| {
            Err(Error::new(format!("`probe.{field}` is {value}; it must be {range}"))
                .hint(format!("`sempair config probe.{field}` shows its default")))
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let once = |at: usize| !self.penalties[..at].contains(&self.penalties[at]);
        let penalties = &self.penalties;
        if penalties.is_empty() || !penalties.iter().all(|&p| positive(p)) || !(0..penalties.len()).all(once) {
            return wrong("penalties", format!("{penalties:?}"), "one or more different numbers above 0");
        }
        if !(self.held_out > 0.0 && self.held_out < 1.0) {
            return wrong("held_out", self.held_out.to_string(), "above 0 and below 1, such as 0.1");
        }
        if self.iterations == 0 {
            return wrong("iterations", "0".into(), "at least 1");
        }
        if !positive(self.tolerance) {
            return wrong("tolerance", self.tolerance.to_string(), "above 0, such as 1e-4");
        }
        if self.neighbours == 0 {
            return wrong("neighbours", "0".into(), "at least 1");
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return wrong("temperature", self.temperature.to_string(), "0 or more");
        }
        Ok(())
    }
}

/// The penalty to use, and where its last fit should start.
struct Choice {
    penalty: f64,
    start: Vec<f64>,
    held_out_accuracy: Vec<(f64, f64)>,
}

/// Fits a part of the training set with each penalty, the largest first. Each fit starts from the previous one.
fn choose(train: &Features, settings: &ProbeSettings, key: Key) -> Result<Choice> {
    let mut weights = vec![0.0; train.classes * (train.dim + 1)];
    let mut penalties = settings.penalties.clone();
    penalties.sort_by(|a, b| b.total_cmp(a));
    let mut choice = Choice { penalty: penalties[0], start: weights.clone(), held_out_accuracy: Vec::new() };
    if penalties.len() == 1 {
        return Ok(choice);
    }
    let (fitted, held_out) = split(train, settings.held_out, key);
    if held_out.is_empty() {
        let what = format!("no category has two of the {} training images, so none can be held out", train.rows());
        return Err(Error::new(what).hint("give one value in `penalties`, which needs no held-out part"));
    }
    let scaling = Scaling::of(train, &fitted);
    let (fitted, held_out) = (Set::new(train, &fitted, &scaling), Set::new(train, &held_out, &scaling));
    let spread = Spread::of(&fitted.x, fitted.dim);
    let mut best = f64::NEG_INFINITY;
    for penalty in penalties {
        weights = fit(&fitted, &spread, penalty, weights, settings).at;
        let accuracy = accuracy(&held_out.predict(&weights), &held_out.labels);
        choice.held_out_accuracy.push((penalty, accuracy));
        if accuracy > best {
            best = accuracy;
            (choice.penalty, choice.start) = (penalty, weights.clone());
        }
    }
    Ok(choice)
}

/// The images for the fit and the held-out images, both in ascending order. Of a category's n images, `share` n are
/// held out, rounded, but both sides get at least one; a category's only image is used for the fit.
fn split(train: &Features, share: f32, key: Key) -> (Vec<usize>, Vec<usize>) {
    let mut members = vec![Vec::new(); train.classes];
    for (image, &label) in train.labels.iter().enumerate() {
        members[label as usize].push(image);
    }
    let (mut fitted, mut held_out) = (Vec::new(), Vec::new());
    for (class, mut images) in members.into_iter().enumerate() {
        key.at(class as u64).stream().shuffle(&mut images);
        let n = images.len();
        let out = if n < 2 { 0 } else { ((share * n as f32).round() as usize).clamp(1, n - 1) };
        held_out.extend_from_slice(&images[..out]);
        fitted.extend_from_slice(&images[out..]);
    }
    fitted.sort_unstable();
    held_out.sort_unstable();
    (fitted, held_out)
}

/// The mean and scale that turn features into standard scores.
struct Scaling {
    mean: Vec<f64>,
    /// 1 / deviation; 0 for a constant feature.
    scale: Vec<f64>,
}

/// Upper limit of standard scores. An image of the fit cannot have a standard score above sqrt(N - 1). A test image
/// can, in a feature that hardly varies on the training set, and its score must not overflow.
const LARGEST_SCORE: f64 = 1e6;

impl Scaling {
    fn of(features: &Features, rows: &[usize]) -> Self {
        let n = rows.len() as f64;
        // The sums are over differences from the first image, so that they are exactly 0 for a constant feature.
        let first = features.row(rows[0]);
        let (mut sums, mut squares) = (vec![0.0; features.dim], vec![0.0; features.dim]);
        let differences = |row: usize| features.row(row).iter().zip(first).map(|(&x, &y)| f64::from(x) - f64::from(y));
        for &row in rows {
            sums.iter_mut().zip(differences(row)).for_each(|(sum, x)| *sum += x);
        }
        for &row in rows {
            for ((square, sum), x) in squares.iter_mut().zip(&sums).zip(differences(row)) {
                *square += (x - sum / n) * (x - sum / n);
            }
        }
        let mean = first.iter().zip(&sums).map(|(&y, sum)| f64::from(y) + sum / n).collect();
        let scale = squares.into_iter().map(|square| if square > 0.0 { (n / square).sqrt() } else { 0.0 }).collect();
        Self { mean, scale }
    }
}

/// Standardised images with their labels.
struct Set {
    x: Vec<f32>, // (N, D)
    labels: Vec<u32>,
    dim: usize,
    classes: usize,
}

impl Set {
    fn new(features: &Features, rows: &[usize], scaling: &Scaling) -> Self {
        let score = |(j, &value): (usize, &f32)| {
            let score = (f64::from(value) - scaling.mean[j]) * scaling.scale[j];
            score.clamp(-LARGEST_SCORE, LARGEST_SCORE) as f32
        };
        let mut x = vec![0.0; rows.len() * features.dim];
        x.par_chunks_mut(features.dim).zip(rows).for_each(|(scores, &row)| {
            scores.iter_mut().zip(features.row(row).iter().enumerate().map(score)).for_each(|(to, score)| *to = score);
        });
        Self {
            x,
            labels: rows.iter().map(|&row| features.labels[row]).collect(),
            dim: features.dim,
            classes: features.classes,
        }
    }

    /// W x + b (N, C).
    fn logits(&self, weights: &[f64]) -> Vec<f32> {
        let (n, d, c) = (self.labels.len(), self.dim, self.classes);
        let weights: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
        let (matrix, biases) = weights.split_at(c * d);
        let mut logits = vec![0.0; n * c];
        linear::forward(&mut logits, &self.x, matrix, Added { onto: None, bias: Some(biases) }, n, d, c);
        logits
    }

    /// The mean over images of 1 - |p|^2, with p the probabilities of an image.
    fn doubt(&self, weights: &[f64]) -> f64 {
        let residuals = Residuals::of(self.logits(weights), &self.labels, self.classes).residuals;
        // |p|^2 = |r|^2 + 2 r[y] + 1, with r = p - one-hot(y).
        let doubt = |(row, &label): (&[f32], &u32)| {
            -row.iter().map(|&r| f64::from(r) * f64::from(r)).sum::<f64>() - 2.0 * f64::from(row[label as usize])
        };
        residuals.chunks_exact(self.classes).zip(&self.labels).map(doubt).sum::<f64>() / self.labels.len() as f64
    }

    /// The most probable category of each image; among equals, the first.
    fn predict(&self, weights: &[f64]) -> Vec<u32> {
        let best =
            |logits: &[f32]| (1..self.classes).fold(0, |best, k| if logits[k] > logits[best] { k } else { best });
        self.logits(weights).chunks_exact(self.classes).map(|logits| best(logits) as u32).collect()
    }
}

/// Minimises the objective over one vector (C D + C) that holds W, then b.
fn fit(set: &Set, spread: &Spread, penalty: f64, start: Vec<f64>, settings: &ProbeSettings) -> Minimum {
    let stop = Stop { iterations: settings.iterations, tolerance: settings.tolerance };
    let curvature = spread.curvature(set.doubt(&start), penalty, set.classes);
    minimise(
        start,
        stop,
        |vector| curvature.divide(vector),
        |weights, gradient| objective(set, penalty, weights, gradient),
    )
}

/// The objective at `weights` (C D + C); `gradient` is overwritten. Products are f32, sums over images f64.
fn objective(set: &Set, penalty: f64, weights: &[f64], gradient: &mut [f64]) -> f64 {
    let (n, d, c) = (set.labels.len(), set.dim, set.classes);
    let matrix = &weights[..c * d];
    let Residuals { residuals, loss, sums } = Residuals::of(set.logits(weights), &set.labels, c);
    let mut products = vec![0.0; c * d];
    matmul::tn(&mut products, &residuals, &set.x, c, n, d);
    for ((g, &product), &w) in gradient.iter_mut().zip(&products).zip(matrix) {
        *g = f64::from(product) / n as f64 + penalty * w;
    }
    for (g, sum) in gradient[c * d..].iter_mut().zip(sums) {
        *g = sum / n as f64;
    }
    loss / n as f64 + 0.5 * penalty * matrix.iter().map(|w| w * w).sum::<f64>()
}

/// The number of images whose losses are summed by one thread. The partition is fixed, so that the number of
/// threads does not change the sum.
const CHUNK: usize = 256;

/// The differences between probabilities and labels.
struct Residuals {
    /// softmax(logits) - one-hot(labels), (N, C).
    residuals: Vec<f32>,
    /// The sum over images of the cross-entropy.
    loss: f64,
    /// The sums over images of the residuals, (C).
    sums: Vec<f64>,
}

impl Residuals {
    /// The residuals of logits (N, C).
    fn of(mut logits: Vec<f32>, labels: &[u32], c: usize) -> Self {
        let mut residuals = vec![0.0; logits.len()];
        let chunks = residuals.par_chunks_mut(CHUNK * c).zip(logits.par_chunks_mut(CHUNK * c));
        let parts: Vec<(f64, Vec<f64>)> = chunks
            .zip(labels.par_chunks(CHUNK))
            .map(|((residuals, logits), labels)| softmax_residuals(residuals, logits, labels))
            .collect();
        let (mut loss, mut sums) = (0.0, vec![0.0; c]);
        for (part_loss, part_sums) in parts {
            loss += part_loss;
            sums.iter_mut().zip(part_sums).for_each(|(sum, part)| *sum += part);
        }
        Self { residuals, loss, sums }
    }
}

/// Writes the residuals of some images and returns the sums of their losses and of their
/// residuals. The logits are overwritten.
fn softmax_residuals(residuals: &mut [f32], logits: &mut [f32], labels: &[u32]) -> (f64, Vec<f64>) {
    let c = logits.len() / labels.len();
    let behind = |(logits, &label): (&[f32], &u32)| {
        f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)) - f64::from(logits[label as usize])
    };
    let mut loss: f64 = logits.chunks_exact(c).zip(labels).map(behind).sum();
    softmax_rows(isa(), residuals, logits, (labels.len(), c), 1.0);
    let mut sums = vec![0.0; c];
    for (row, &label) in residuals.chunks_exact_mut(c).zip(labels) {
        // The largest logit minus itself is 0, so its probability is 1 / sum e^(logit - largest).
        loss -= libm::log(f64::from(row.iter().copied().fold(0.0, f32::max)));
        row[label as usize] -= 1.0;
        sums.iter_mut().zip(&*row).for_each(|(sum, &r)| *sum += f64::from(r));
    }
    (loss, sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    // i, j = np.arange(60)[:, None], np.arange(4)[None, :]
    // x = (i + 2) * (j + 3) * (i + j + 1) ** 2 % 23 * 1.0
    // y = ((x @ [1, 2, 0, -1] + 5 * np.arange(60) % 9) // 16 % 3).astype(int)
    fn images(range: std::ops::Range<i64>) -> Features {
        let values = |i: i64| (0..4).map(move |j| ((i + 2) * (j + 3) * (i + j + 1).pow(2) % 23) as f32);
        let label = |i: i64| {
            let x: Vec<i64> = values(i).map(|x| x as i64).collect();
            (x[0] + 2 * x[1] - x[3] + 5 * i % 9).div_euclid(16).rem_euclid(3) as u32
        };
        Features::new(range.clone().flat_map(values).collect(), range.map(label).collect(), 4, 3).unwrap()
    }

    fn settings() -> ProbeSettings {
        let penalties = vec![0.05];
        ProbeSettings { penalties, held_out: 0.2, iterations: 500, tolerance: 1e-6, neighbours: 5, temperature: 0.0 }
    }

    fn assert_close(ours: &[f64], theirs: &[f64], tolerance: f64) {
        let close = ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < tolerance);
        assert!(close && ours.len() == theirs.len(), "{ours:?} against {theirs:?}");
    }

    // z = (x - x[:40].mean(0)) / x[:40].std(0)                                       # scikit-learn 1.9.1
    // m = LogisticRegression(C=1 / (40 * 0.05), tol=1e-10, max_iter=10000).fit(z[:40], y[:40])
    // m.coef_, m.intercept_, m.predict_proba(z[40:42]), m.predict(z[40:]), 100 * m.score(z[40:], y[40:])
    #[test]
    fn the_minimum_is_that_of_scikit_learn() {
        let (train, test) = (images(0..40), images(40..60));
        let rows: Vec<usize> = (0..40).collect();
        let scaling = Scaling::of(&train, &rows);
        let set = Set::new(&train, &rows, &scaling);
        let found = fit(&set, &Spread::of(&set.x, 4), 0.05, vec![0.0; 15], &settings());
        assert!(found.converged, "{} iterations", found.iterations);
        let coefficients = [
            [-0.056118, -0.762655, -0.043909, -0.004379],
            [0.054914, -0.202319, -0.177656, -0.030392],
            [0.001204, 0.964974, 0.221566, 0.034771],
        ];
        // The penalty makes the objective 0.05-convex in W, so a gradient of 1e-6 leaves an error of 15^0.5 * 2e-5.
        assert_close(&found.at[..12], coefficients.as_flattened(), 8e-5);
        assert_close(&found.at[12..], &[-0.383976, 0.229728, 0.154248], 8e-5);

        let two = Set::new(&test, &[0, 1], &scaling);
        let mut probabilities = Residuals::of(two.logits(&found.at), &two.labels, 3).residuals;
        (0..2).for_each(|i| probabilities[3 * i + two.labels[i] as usize] += 1.0);
        let probabilities: Vec<f64> = probabilities.into_iter().map(f64::from).collect();
        assert_close(&probabilities, &[0.044767, 0.259518, 0.695715, 0.31825, 0.516408, 0.165343], 5e-5);

        let result = linear_probe(&train, &test, &settings(), Key::root(0)).unwrap();
        assert_eq!(result.predictions, [2, 1, 2, 2, 0, 0, 2, 2, 0, 2, 2, 2, 0, 2, 2, 1, 2, 0, 1, 2]);
        assert_eq!((result.accuracy, result.penalty), (70.0, 0.05));
    }

    /// An independent implementation of the objective in f64.
    fn definition(set: &Set, penalty: f64, weights: &[f64]) -> f64 {
        let (n, d, c) = (set.labels.len(), set.dim, set.classes);
        let loss = |i: usize| {
            let x = &set.x[i * d..][..d];
            let logit = |k: usize| {
                let row = &weights[k * d..][..d];
                weights[c * d + k] + row.iter().zip(x).map(|(w, &x)| w * f64::from(x)).sum::<f64>()
            };
            (0..c).map(|k| logit(k).exp()).sum::<f64>().ln() - logit(set.labels[i] as usize)
        };
        let mean = (0..n).map(loss).sum::<f64>() / n as f64;
        mean + 0.5 * penalty * weights[..c * d].iter().map(|w| w * w).sum::<f64>()
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let train = images(0..60);
        let rows: Vec<usize> = (0..60).collect();
        let set = Set::new(&train, &rows, &Scaling::of(&train, &rows));
        let mut stream = Key::root(1).stream();
        let weights: Vec<f64> = (0..15).map(|_| f64::from(stream.normal())).collect();
        let mut gradient = vec![0.0; 15];
        let value = objective(&set, 0.3, &weights, &mut gradient);
        // Logits of a few units in f32: 1e-7 times 4 terms times their size.
        assert_close(&[value], &[definition(&set, 0.3, &weights)], 2e-6);
        let difference = |i: usize| {
            let at = |step: f64| {
                let mut moved = weights.clone();
                moved[i] += step;
                definition(&set, 0.3, &moved)
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        };
        assert_close(&gradient, &(0..15).map(difference).collect::<Vec<_>>(), 2e-6);
    }

    /// Standardised scores (N, D) without images of the last category. The first feature is
    /// constant, and the last repeats another.
    fn awkward(n: usize, dim: usize, classes: usize) -> Set {
        let mut stream = Key::root(9).stream();
        let labels: Vec<u32> = (0..n).map(|i| (i % (classes - 1)) as u32).collect();
        let mut values = Vec::with_capacity(n * dim);
        for &label in &labels {
            // A few common factors, so that S has a few large directions.
            let causes: Vec<f32> = (0..4).map(|k| stream.normal() + (label == k) as u8 as f32).collect();
            let row = values.len();
            values.extend((0..dim).map(|j| causes[j % 4] * (1.0 + (j / 4) as f32) + stream.normal()));
            values[row] = 0.1;
            values[row + dim - 1] = values[row + 1];
        }
        let features = Features::new(values, labels, dim, classes).unwrap();
        let rows: Vec<usize> = (0..n).collect();
        Set::new(&features, &rows, &Scaling::of(&features, &rows))
    }

    #[test]
    fn the_curvature_changes_the_path_and_not_the_end() {
        let mut steps = (0, 0);
        // More and fewer images than features; then the same with more features than distinguished directions.
        for (n, dim, classes) in [(150, 24, 5), (30, 60, 4), (400, 280, 3), (60, 300, 3)] {
            let (set, penalty, tolerance) = (awkward(n, dim, classes), 1e-2, 1e-5);
            let start = || vec![0.0; classes * (dim + 1)];
            let settings = ProbeSettings { tolerance, ..settings() };
            let ours = fit(&set, &Spread::of(&set.x, dim), penalty, start(), &settings);
            let stop = Stop { iterations: 5000, tolerance };
            let plain = minimise(start(), stop, <[f64]>::to_vec, |w, gradient| objective(&set, penalty, w, gradient));
            assert!(ours.converged && plain.converged, "({n}, {dim}): {} and {}", ours.iterations, plain.iterations);
            steps.0 += ours.iterations;
            steps.1 += plain.iterations;
            // With this gradient, the value is at most |g|^2 / (2 penalty) above the minimum, and the missing category
            // has a probability of at most the tolerance; values are f32 with an error of 2e-6.
            let rest = tolerance + (classes * (dim + 1)) as f64 * tolerance * tolerance / (2.0 * penalty);
            let [ours, plain] = [ours, plain].map(|found| definition(&set, penalty, &found.at));
            assert!((ours - plain).abs() < rest + 2e-6, "({n}, {dim}): {ours} and {plain}, {rest}");
        }
        assert!(2 * steps.0 < steps.1, "{} steps and without curvature {}", steps.0, steps.1);
    }

    #[test]
    fn doubt_is_what_the_squares_of_the_chances_leave() {
        let set = awkward(40, 6, 5);
        assert!((set.doubt(&[0.0; 35]) - 0.8).abs() < 1e-6);
        // Biases that leave two categories: each has probability 1/2.
        let weights = [vec![0.0; 30], vec![50.0, 50.0, 0.0, 0.0, 0.0]].concat();
        assert!((set.doubt(&weights) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_split_is_stratified_and_leaves_each_category_an_image_to_fit() {
        let labels = [vec![0; 20], vec![1; 2], vec![2; 1], vec![4; 10]].concat();
        let train = Features::new(vec![0.0; 33], labels, 1, 5).unwrap();
        let (fitted, held_out) = split(&train, 0.2, Key::root(3));
        let count = |rows: &[usize], class| rows.iter().filter(|&&row| train.labels[row] == class).count();
        assert_eq!([0, 1, 2, 3, 4].map(|class| count(&held_out, class)), [4, 1, 0, 0, 2]);
        let mut all = [fitted.clone(), held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..33).collect::<Vec<_>>());
        assert_eq!((fitted, held_out.clone()), split(&train, 0.2, Key::root(3)));
        assert_ne!(held_out, split(&train, 0.2, Key::root(4)).1);
    }

    #[test]
    fn a_constant_feature_has_score_zero_everywhere_and_no_score_overflows() {
        let values = vec![0.1, 5.0, 0.1, 5.0, 0.1, 5.000_001];
        let train = Features::new(values, vec![0, 1, 0], 2, 2).unwrap();
        let scaling = Scaling::of(&train, &[0, 1, 2]);
        let test = Features::new(vec![7.0, f32::MAX], vec![0], 2, 2).unwrap();
        assert_eq!(Set::new(&train, &[0], &scaling).x[0], 0.0);
        assert_eq!(Set::new(&test, &[0], &scaling).x, [0.0, LARGEST_SCORE as f32]);
    }
}
