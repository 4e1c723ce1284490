//! The linear probe: multinomial logistic regression on frozen, standardised features.
//!
//! With standardised features x_i, labels y_i, weights W (C, D) and biases b (C) it minimises
//!
//!   1/N sum_i -log softmax(W x_i + b)[y_i] + penalty/2 |W|^2,
//!
//! in which the biases are not penalised. This is scikit-learn's `LogisticRegression` with C = 1 / (N penalty).

use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::eval::Features;
use crate::eval::accuracy;
use crate::eval::check_pair;
use crate::eval::lbfgs::Minimum;
use crate::eval::lbfgs::Stop;
use crate::eval::lbfgs::minimise;
use crate::kernels::cpu::matmul;
use crate::rng::Key;

/// How frozen features are evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// Candidate L2 penalties, each above 0; the one most accurate on the held-out part is used.
    pub penalties: Vec<f64>,
    /// Share of the training images of each category that is held out to choose the penalty, above 0 and below 1.
    pub held_out: f32,
    /// Largest number of L-BFGS steps of one fit.
    pub iterations: usize,
    /// A fit has converged when no component of its gradient exceeds this.
    pub tolerance: f64,
    /// k of k-NN.
    pub neighbours: usize,
    /// Temperature of the votes of k-NN; 0 gives each neighbour one vote.
    pub temperature: f64,
}

/// What the probe says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Percent of the test images whose category is predicted by the last iterate.
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
/// The penalty is chosen on a part of `train`, stratified by category and drawn by `key`; of equally accurate penalties
/// the largest is taken. Then everything is fitted anew on all of `train`. `test` is looked at last and only to predict.
/// Standardisation uses the mean and deviation of the images fitted on; features constant there count as zero.
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
    let last = fit(&Set::new(train, &all, &scaling), choice.penalty, choice.start, settings);
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
    fn check(&self) -> Result<()> {
        let wrong = |field: &str, value: String, range: &str| {
            Err(Error::new(format!("probe: `{field}` is {value}")).hint(format!("`{field}` must be {range}")))
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if self.penalties.is_empty() || !self.penalties.iter().all(|&p| positive(p)) {
            return wrong("penalties", format!("{:?}", self.penalties), "at least one number, each above 0");
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
        Ok(())
    }
}

/// The penalty to use, and where its last fit should start.
struct Choice {
    penalty: f64,
    start: Vec<f64>,
    held_out_accuracy: Vec<(f64, f64)>,
}

/// Fits a part of the training set at each penalty, the largest first, each from the one before.
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
    let mut best = f64::NEG_INFINITY;
    for penalty in penalties {
        weights = fit(&fitted, penalty, weights, settings).at;
        let accuracy = accuracy(&held_out.predict(&weights), &held_out.labels);
        choice.held_out_accuracy.push((penalty, accuracy));
        if accuracy > best {
            best = accuracy;
            (choice.penalty, choice.start) = (penalty, weights.clone());
        }
    }
    Ok(choice)
}

/// The images to fit and those held out, each in order. Of a category's n images `share` n are held out, rounded, but at
/// least one is on either side; a single image is fitted.
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

/// What turns features into standard scores.
struct Scaling {
    mean: Vec<f64>,
    /// 1 / deviation; 0 for a constant feature.
    scale: Vec<f64>,
}

/// No image that is fitted can have a standard score above sqrt(N - 1); a test image can, in a feature that hardly
/// varies on the training set, and must not overflow.
const LARGEST_SCORE: f64 = 1e6;

impl Scaling {
    fn of(features: &Features, rows: &[usize]) -> Self {
        let n = rows.len() as f64;
        // Sums are of differences from the first image: those of a constant feature are 0 exactly.
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
        Self {
            x: rows.iter().flat_map(|&row| features.row(row).iter().enumerate().map(score)).collect(),
            labels: rows.iter().map(|&row| features.labels[row]).collect(),
            dim: features.dim,
            classes: features.classes,
        }
    }

    /// W x (N, C), without the biases.
    fn products(&self, weights: &[f64]) -> Vec<f32> {
        let (n, d, c) = (self.labels.len(), self.dim, self.classes);
        let weights: Vec<f32> = weights[..c * d].iter().map(|&w| w as f32).collect();
        let mut products = vec![0.0; n * c];
        matmul::nt(&mut products, &self.x, &weights, n, d, c);
        products
    }

    /// The most probable category of each image, the first of equals.
    fn predict(&self, weights: &[f64]) -> Vec<u32> {
        let biases = &weights[self.classes * self.dim..];
        let best = |products: &[f32]| {
            let logit = |class: usize| f64::from(products[class]) + biases[class];
            (1..self.classes).fold(0, |best, class| if logit(class) > logit(best) { class } else { best }) as u32
        };
        self.products(weights).chunks_exact(self.classes).map(best).collect()
    }
}

/// Minimises the objective over W, then b, in one vector (C D + C).
fn fit(set: &Set, penalty: f64, start: Vec<f64>, settings: &ProbeSettings) -> Minimum {
    let stop = Stop { iterations: settings.iterations, tolerance: settings.tolerance };
    minimise(start, stop, |weights, gradient| objective(set, penalty, weights, gradient))
}

/// The objective at `weights` (C D + C); `gradient` is overwritten. Products are f32, sums over images f64.
fn objective(set: &Set, penalty: f64, weights: &[f64], gradient: &mut [f64]) -> f64 {
    let (n, d, c) = (set.labels.len(), set.dim, set.classes);
    let (matrix, biases) = weights.split_at(c * d);
    let mut residuals = set.products(weights); // (N, C): W x, then softmax - one-hot
    let (loss, bias_gradient) = softmax_residuals(&mut residuals, &set.labels, biases);
    let mut products = vec![0.0; c * d];
    matmul::tn(&mut products, &residuals, &set.x, c, n, d);
    for ((g, &product), &w) in gradient.iter_mut().zip(&products).zip(matrix) {
        *g = f64::from(product) / n as f64 + penalty * w;
    }
    for (g, sum) in gradient[c * d..].iter_mut().zip(bias_gradient) {
        *g = sum / n as f64;
    }
    loss / n as f64 + 0.5 * penalty * matrix.iter().map(|w| w * w).sum::<f64>()
}

/// Images whose losses are summed by one thread; the partition is fixed, so that threads do not change the sum.
const CHUNK: usize = 256;

/// Replaces `products` (N, C) by softmax(products + biases) - one-hot(labels); the sums over images of the cross-entropy
/// and of the residuals (C).
fn softmax_residuals(products: &mut [f32], labels: &[u32], biases: &[f64]) -> (f64, Vec<f64>) {
    let c = biases.len();
    let chunk_sums = |(products, labels): (&mut [f32], &[u32])| {
        let (mut loss, mut sums) = (0.0, vec![0.0; c]);
        for (row, &label) in products.chunks_exact_mut(c).zip(labels) {
            loss += softmax_residual(row, label as usize, biases);
            sums.iter_mut().zip(&*row).for_each(|(sum, &r)| *sum += f64::from(r));
        }
        (loss, sums)
    };
    let parts: Vec<(f64, Vec<f64>)> =
        products.par_chunks_mut(CHUNK * c).zip(labels.par_chunks(CHUNK)).map(chunk_sums).collect();
    let (mut loss, mut sums) = (0.0, vec![0.0; c]);
    for (part_loss, part_sums) in parts {
        loss += part_loss;
        sums.iter_mut().zip(part_sums).for_each(|(sum, part)| *sum += part);
    }
    (loss, sums)
}

/// One row (C) of [`softmax_residuals`]; its cross-entropy.
fn softmax_residual(row: &mut [f32], label: usize, biases: &[f64]) -> f64 {
    row.iter_mut().zip(biases).for_each(|(z, &b)| *z = (f64::from(*z) + b) as f32);
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let own = f64::from(row[label] - largest);
    let mut sum = 0.0;
    for z in row.iter_mut() {
        *z = libm::expf(*z - largest);
        sum += f64::from(*z);
    }
    row.iter_mut().for_each(|z| *z = (f64::from(*z) / sum) as f32);
    row[label] -= 1.0;
    libm::log(sum) - own
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
        let found = fit(&Set::new(&train, &rows, &scaling), 0.05, vec![0.0; 15], &settings());
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
        let mut probabilities = two.products(&found.at);
        softmax_residuals(&mut probabilities, &two.labels, &found.at[12..]);
        (0..2).for_each(|i| probabilities[3 * i + two.labels[i] as usize] += 1.0);
        let probabilities: Vec<f64> = probabilities.into_iter().map(f64::from).collect();
        assert_close(&probabilities, &[0.044767, 0.259518, 0.695715, 0.31825, 0.516408, 0.165343], 5e-5);

        let result = linear_probe(&train, &test, &settings(), Key::root(0)).unwrap();
        assert_eq!(result.predictions, [2, 1, 2, 2, 0, 0, 2, 2, 0, 2, 2, 2, 0, 2, 2, 1, 2, 0, 1, 2]);
        assert_eq!((result.accuracy, result.penalty), (70.0, 0.05));
    }

    /// The objective in f64, written down again.
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
