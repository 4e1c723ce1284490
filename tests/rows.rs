//! The memory-bound kernels, against their definitions in f64: over random shapes, in each format, on each
//! instruction set present, on several numbers of threads.

mod attention; // attention and its tokens
mod roi_align; // regions of maps
mod slopes; // backward passes against finite differences
mod unit; // rows at unit length
mod updates; // the optimisers' arithmetic

use half::bf16;
use proptest::prelude::*;
use sempair::kernels::cpu::Element;
use sempair::kernels::cpu::Isa;
use sempair::kernels::cpu::batch_norm;
use sempair::kernels::cpu::batch_norm::Gate;
use sempair::kernels::cpu::batch_norm::NormGradients;
use sempair::kernels::cpu::batch_norm::NormMode;
use sempair::kernels::cpu::batch_norm::Normalization;
use sempair::kernels::cpu::elementwise;
use sempair::kernels::cpu::isa;
use sempair::kernels::cpu::layer_norm;
use sempair::kernels::cpu::pool;
use sempair::kernels::cpu::softmax;
use sempair::kernels::cpu::with_isa;
use sempair::kernels::shapes::PoolShape;
use sempair::rng::Key;

const EPS: f64 = f32::EPSILON as f64;

/// `len` numbers in [-1, 1), different for each `seed`, rounded to the format.
fn numbers<E: Element>(len: usize, seed: u64) -> Vec<E> {
    let mut stream = Key::root(seed).split("rows").stream();
    (0..len).map(|_| E::from_f32(stream.range(-1.0, 1.0))).collect()
}

fn wide<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|value| f64::from(value.to_f32())).collect()
}

fn bits<E: Element>(values: &[E]) -> Vec<u32> {
    values.iter().map(|value| value.to_f32().to_bits()).collect()
}

/// Runs `body` on each instruction set present.
fn on_each_set(mut body: impl FnMut(&str)) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        with_isa(isa, || body(isa.name()));
    }
}

/// Runs `body` on each instruction set present, on pools of several numbers of threads, and asserts the same bits.
fn same_bits_on_any_threads(body: impl Fn() -> Vec<Vec<u32>> + Sync) {
    on_each_set(|set| {
        let isa = isa();
        let results = [1, 2, 3, 8].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| with_isa(isa, &body))
        });
        assert!(results.iter().all(|result| *result == results[0]), "{set}");
    });
}

/// Asserts that each value is near its definition: within `noise`, the error of f32 arithmetic, plus half a unit in
/// the last place of its format.
fn assert_near<E: Element>(values: &[E], defined: &[f64], noise: f64, what: &str) {
    assert_eq!(values.len(), defined.len(), "{what}");
    let unit = if E::NAME == bf16::NAME { 1.0 / 256.0 } else { EPS };
    for (at, (value, &defined)) in wide(values).into_iter().zip(defined).enumerate() {
        let tolerance = noise + unit * defined.abs();
        assert!(
            (value - defined).abs() <= tolerance,
            "{what}[{at}] is {value}, defined as {defined} within {tolerance}"
        );
    }
}

fn column(x: &[f64], channels: usize, c: usize) -> impl Iterator<Item = f64> {
    x.iter().skip(c).step_by(channels).copied()
}

fn mean_and_var(x: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = x.clone().count() as f64;
    let mean = x.clone().sum::<f64>() / count;
    (mean, x.map(|x| (x - mean).powi(2)).sum::<f64>() / count)
}

/// Batch norm's statistics, outputs and gradients, with and without shortcut and rectifier.
struct Normed<E> {
    moments: [Vec<f32>; 2],
    rectified: Vec<E>,
    joined: Vec<E>,
    /// dx, dgamma and dbeta for each gate.
    gradients: [(Vec<E>, Vec<f32>, Vec<f32>); 3],
    /// The same with constant moments; scale and shift are constant, too, for the last gate.
    frozen: [(Vec<E>, Vec<f32>, Vec<f32>); 3],
    /// dz with the moments of the batch and with constant moments.
    dz: [Vec<E>; 2],
}

struct NormInputs<E> {
    x: Vec<E>,
    dy: Vec<E>,
    shortcut: Vec<E>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    channels: usize,
}

impl<E: Element> NormInputs<E> {
    fn new(rows: usize, channels: usize) -> Self {
        let [x, dy, shortcut] = [1, 2, 3].map(|seed| numbers(rows * channels, seed));
        Self { x, dy, shortcut, gamma: numbers(channels, 4), beta: numbers(channels, 5), channels }
    }

    fn normed(&self) -> Normed<E> {
        let Self { x, dy, shortcut, gamma, beta, channels } = self;
        let blank = || vec![E::from_f32(f32::NAN); x.len()];
        let [mut mean, mut var] = [(); 2].map(|()| vec![f32::NAN; *channels]);
        batch_norm::statistics(&mut mean, &mut var, x, x.len() / channels, *channels);
        let inv_std: Vec<f32> = var.iter().map(|var| 1.0 / (var + 1e-2).sqrt()).collect();
        let norm = Normalization { mean: &mean, inv_std: &inv_std, gamma, beta };
        let (mut rectified, mut joined) = (blank(), blank());
        batch_norm::normalize(&mut rectified, x, &norm, None, true);
        batch_norm::normalize(&mut joined, x, &norm, Some(shortcut), true);
        let backward = |gate: Gate<E>, dz: Option<&mut [E]>, frozen: bool, affine: bool| {
            let (mut dx, mut dgamma, mut dbeta) = (blank(), vec![1.0; *channels], vec![1.0; *channels]);
            let gradients = NormGradients { dgamma: &mut dgamma, dbeta: &mut dbeta };
            let mode = match frozen {
                true => NormMode::Frozen(affine.then_some(gradients)),
                false => NormMode::Batch(gradients),
            };
            batch_norm::backward(&mut dx, dz, mode, dy, x, &norm, gate);
            (dx, dgamma, dbeta)
        };
        let mut dz = [blank(), blank()];
        let [of_batch, of_frozen] = &mut dz;
        let [gradients, frozen] = [(false, of_batch), (true, of_frozen)].map(|(frozen, dz)| {
            let (open, recomputed) = (Gate::Open, Gate::Recomputed);
            let joined = backward(Gate::Output(&joined), Some(dz), frozen, false);
            [backward(open, None, frozen, true), backward(recomputed, None, frozen, true), joined]
        });
        Normed { moments: [mean, inv_std], rectified, joined, gradients, frozen, dz }
    }

    /// Asserts that all results follow by the formulas from the computed moments, with the gates from the outputs.
    fn assert_defined(&self, normed: &Normed<E>, what: &str) {
        let channels = self.channels;
        let (x, dy, shortcut) = (wide(&self.x), wide(&self.dy), wide(&self.shortcut));
        let [mean, inv_std, gamma, beta] =
            [&normed.moments[0], &normed.moments[1], &self.gamma, &self.beta].map(|values| wide(values));
        let rows = (x.len() / channels) as f64;
        let xhat: Vec<f64> =
            x.iter().enumerate().map(|(at, x)| (x - mean[at % channels]) * inv_std[at % channels]).collect();
        let z: Vec<f64> =
            xhat.iter().enumerate().map(|(at, x)| gamma[at % channels] * x + beta[at % channels]).collect();
        assert_near(&normed.rectified, &z.iter().map(|z| z.max(0.0)).collect::<Vec<_>>(), 64.0 * EPS, what);
        let joined: Vec<f64> = z.iter().zip(&shortcut).map(|(z, shortcut)| (z + shortcut).max(0.0)).collect();
        assert_near(&normed.joined, &joined, 64.0 * EPS, what);
        let gates = [vec![1.0; z.len()], wide(&normed.rectified), wide(&normed.joined)];
        let results = normed.gradients.iter().zip(&normed.frozen);
        for ((index, gate), ((dx, dgamma, dbeta), frozen)) in gates.iter().enumerate().zip(results) {
            let dz: Vec<f64> = dy.iter().zip(gate).map(|(dy, &gate)| if gate > 0.0 { *dy } else { 0.0 }).collect();
            let sums: Vec<(f64, f64)> = (0..channels)
                .map(|c| {
                    let products = column(&dz, channels, c).zip(column(&xhat, channels, c)).map(|(dz, x)| dz * x);
                    (column(&dz, channels, c).sum(), products.sum())
                })
                .collect();
            let noise = 64.0 * EPS * (1.0 + rows.sqrt());
            let added = |sum: fn(&(f64, f64)) -> f64| sums.iter().map(|s| 1.0 + sum(s)).collect::<Vec<_>>();
            assert_near(dbeta, &added(|s| s.0), noise, what);
            assert_near(dgamma, &added(|s| s.1), 10.0 * noise, what);
            let expected: Vec<f64> = (0..dz.len())
                .map(|at| {
                    let c = at % channels;
                    gamma[c] * inv_std[c] * (dz[at] - sums[c].0 / rows - xhat[at] * sums[c].1 / rows)
                })
                .collect();
            assert_near(dx, &expected, 1e3 * EPS, what);
            let scaled = dz.iter().enumerate().map(|(at, dz)| gamma[at % channels] * inv_std[at % channels] * dz);
            assert_near(&frozen.0, &scaled.collect::<Vec<_>>(), 8.0 * EPS, what);
            let untouched = (vec![1.0; channels], vec![1.0; channels]);
            let affine = if index < 2 { (dgamma.clone(), dbeta.clone()) } else { untouched };
            assert_eq!((&frozen.1, &frozen.2), (&affine.0, &affine.1), "{what}");
        }
        let dz = dy.iter().zip(&gates[2]).map(|(dy, &gate)| if gate > 0.0 { *dy } else { 0.0 }).collect::<Vec<_>>();
        for normed in &normed.dz {
            assert_eq!(wide(normed), dz, "{what}");
        }
    }
}

fn assert_batch_norm<E: Element>(rows: usize, channels: usize) {
    let inputs = NormInputs::<E>::new(rows, channels);
    on_each_set(|set| {
        inputs.assert_defined(&inputs.normed(), &format!("batch norm ({rows}, {channels}) in {} on {set}", E::NAME));
    });
}

fn assert_statistics<E: Element>(rows: usize, channels: usize, offset: f32) {
    let x: Vec<E> = numbers::<f32>(rows * channels, 1).iter().map(|x| E::from_f32(x + offset)).collect();
    on_each_set(|set| {
        let (mut mean, mut var) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
        batch_norm::statistics(&mut mean, &mut var, &x, rows, channels);
        for c in 0..channels {
            let wide = wide(&x);
            let (true_mean, true_var) = mean_and_var(column(&wide, channels, c).collect::<Vec<_>>().into_iter());
            // The f32 sums of a block have random rounding errors, so the error grows with the root. Numbers in bf16
            // around an offset of 1000 have units of 4, and deviations of that size.
            let spread = if E::NAME == bf16::NAME { 1.0 + f64::from(offset.abs()) / 100.0 } else { 1.0 };
            let tolerance = EPS * (true_mean.abs() + spread * (rows as f64).sqrt());
            assert!((f64::from(mean[c]) - true_mean).abs() <= tolerance, "{set}: mean {} for {true_mean}", mean[c]);
            let tolerance = spread * spread * 8.0 * EPS * (rows as f64).sqrt() + tolerance * tolerance;
            assert!((f64::from(var[c]) - true_var).abs() <= tolerance, "{set}: var {} for {true_var}", var[c]);
        }
    });
}

/// Output, winners and gradient of a max pooling.
fn max_pooled<E: Element>(shape: &PoolShape, x: &[E], dy: &[E]) -> (Vec<E>, Vec<u8>, Vec<E>) {
    let blank = E::from_f32(f32::NAN);
    let (mut y, mut argmax, mut dx) = (vec![blank; dy.len()], vec![255; dy.len()], vec![blank; x.len()]);
    pool::max_forward(&mut y, &mut argmax, x, shape);
    pool::max_backward(&mut dx, dy, &argmax, shape);
    (y, argmax, dx)
}

/// Asserts output, winners and gradient, window by window. The inputs have few different values, so ties are common.
fn assert_max_pool<E: Element>(shape: &PoolShape) {
    let &PoolShape { batch, height, width, channels, kernel, stride, padding } = shape;
    let row = batch * channels;
    let out_width = (width + 2 * padding - kernel) / stride + 1;
    let out_height = (height + 2 * padding - kernel) / stride + 1;
    let rounded = |x: &f32| E::from_f32((x * 3.0).round());
    let x: Vec<E> = numbers::<f32>(height * width * row, 1).iter().map(rounded).collect();
    let dy: Vec<E> = numbers(out_height * out_width * row, 2);
    let (mut y, mut winners, mut dx) = (Vec::new(), Vec::new(), vec![0.0f32; x.len()]);
    for (at, gradient) in dy.iter().enumerate() {
        let (element, pixel) = (at % row, at / row);
        let (oy, ox) = (pixel / out_width, pixel % out_width);
        let mut best: Option<(usize, usize)> = None;
        for tap in 0..kernel * kernel {
            let (iy, ix) = (oy * stride + tap / kernel, ox * stride + tap % kernel);
            if (padding..height + padding).contains(&iy) && (padding..width + padding).contains(&ix) {
                let place = ((iy - padding) * width + ix - padding) * row + element;
                if best.is_none_or(|(_, best)| x[place].to_f32() > x[best].to_f32()) {
                    best = Some((tap, place));
                }
            }
        }
        let (tap, place) = best.unwrap();
        y.push(x[place]);
        winners.push(tap as u8);
        dx[place] += gradient.to_f32();
    }
    let dx: Vec<E> = dx.into_iter().map(E::from_f32).collect();
    on_each_set(|set| {
        let result = max_pooled(shape, &x, &dy);
        assert!(result == (y.clone(), winners.clone(), dx.clone()), "{shape:?} in {} on {set}", E::NAME);
    });
}

fn assert_averages<E: Element>(batch: usize, pixels: usize, channels: usize) {
    let (row, x) = (batch * channels, numbers::<E>(pixels * batch * channels, 1));
    let defined: Vec<f64> = (0..row).map(|c| mean_and_var(wide(&x).into_iter().skip(c).step_by(row)).0).collect();
    on_each_set(|set| {
        let what = format!("average ({batch}, {pixels}, {channels}) in {} on {set}", E::NAME);
        let (mut y, mut dx) = (vec![E::default(); row], vec![E::default(); x.len()]);
        pool::average_forward(&mut y, &x, batch, pixels, channels);
        assert_near(&y, &defined, EPS * pixels as f64, &what);
        pool::average_backward(&mut dx, &y, batch, pixels, channels);
        let spread: Vec<f64> = wide(&y).iter().map(|y| y / pixels as f64).collect();
        assert_near(&dx, &spread.repeat(pixels), EPS, &what);
    });
}

/// Layer norm's output and gradients (added to ones).
fn layer_normed<E: Element>(x: &[E], dy: &[E], gamma: &[f32], beta: &[f32]) -> ([Vec<E>; 2], [Vec<f32>; 4]) {
    let (channels, rows) = (gamma.len(), x.len() / gamma.len());
    let (mut mean, mut inv_std) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
    let blank = || vec![E::from_f32(f32::NAN); x.len()];
    let (mut y, mut dx, mut dgamma, mut dbeta) = (blank(), blank(), vec![1.0; channels], vec![1.0; channels]);
    layer_norm::forward(&mut y, &mut mean, &mut inv_std, x, (gamma, beta), 1e-2);
    let norm = Normalization { mean: &mean, inv_std: &inv_std, gamma, beta };
    let gradients = NormGradients { dgamma: &mut dgamma, dbeta: &mut dbeta };
    layer_norm::backward(&mut dx, gradients, dy, x, &norm, None);
    ([y, dx], [dgamma, dbeta, mean, inv_std])
}

fn assert_layer_norm<E: Element>(rows: usize, channels: usize, offset: f32) {
    let x: Vec<E> = numbers::<f32>(rows * channels, 1).iter().map(|x| E::from_f32(x + offset)).collect();
    let (dy, gamma, beta) = (numbers::<E>(x.len(), 2), numbers::<f32>(channels, 3), numbers::<f32>(channels, 4));
    let (mut y, mut dx) = (Vec::new(), Vec::new());
    let (mut dgamma, mut dbeta) = (vec![1.0; channels], vec![1.0; channels]);
    for (x, dy) in wide(&x).chunks_exact(channels).zip(wide(&dy).chunks_exact(channels)) {
        let (mean, var) = mean_and_var(x.iter().copied());
        let inv_std = 1.0 / (var + 1e-2).sqrt();
        let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * inv_std).collect();
        let scaled: Vec<f64> = dy.iter().zip(&gamma).map(|(dy, &gamma)| dy * f64::from(gamma)).collect();
        let sum = scaled.iter().sum::<f64>() / channels as f64;
        let sum_x = scaled.iter().zip(&xhat).map(|(dy, x)| dy * x).sum::<f64>() / channels as f64;
        for c in 0..channels {
            y.push(xhat[c] * f64::from(gamma[c]) + f64::from(beta[c]));
            dx.push(inv_std * (scaled[c] - sum - xhat[c] * sum_x));
            dgamma[c] += dy[c] * xhat[c];
            dbeta[c] += dy[c];
        }
    }
    let noise = 100.0 * EPS * (1.0 + f64::from(offset.abs()));
    on_each_set(|set| {
        let what = format!("layer norm ({rows}, {channels}, {offset}) in {} on {set}", E::NAME);
        let (by_element, by_channel) = layer_normed(&x, &dy, &gamma, &beta);
        assert_near(&by_element[0], &y, noise, &what);
        assert_near(&by_element[1], &dx, 10.0 * noise, &what);
        assert_near(&by_channel[0], &dgamma, noise * rows as f64, &what);
        assert_near(&by_channel[1], &dbeta, noise * rows as f64, &what);
    });
}

fn assert_softmax<E: Element>(rows: usize, columns: usize, scale: f32) {
    let x: Vec<f32> = numbers::<f32>(rows * columns, 1).iter().map(|x| x * 8.0).collect();
    let dy: Vec<f32> = numbers(x.len(), 2);
    let mut defined = Vec::new();
    for x in wide(&x).chunks_exact(columns) {
        let powers: Vec<f64> = x.iter().map(|x| (x * f64::from(scale)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        defined.extend(powers.iter().map(|power| power / sum));
    }
    on_each_set(|set| {
        let what = format!("softmax ({rows}, {columns}, {scale}) in {} on {set}", E::NAME);
        let (mut y, mut dx) = (vec![E::default(); x.len()], vec![E::default(); x.len()]);
        softmax::softmax_rows(isa(), &mut y, &mut x.clone(), (rows, columns), scale);
        assert_near(&y, &defined, 64.0 * EPS, &what);
        softmax::softmax_rows_backward(isa(), &mut dx, &dy, &y, (rows, columns), scale);
        let mut expected = Vec::new();
        for (y, dy) in wide(&y).chunks_exact(columns).zip(wide(&dy).chunks_exact(columns)) {
            let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            expected.extend(y.iter().zip(dy).map(|(y, dy)| f64::from(scale) * y * (dy - sum)));
        }
        assert_near(&dx, &expected, 64.0 * EPS, &what);
    });
}

fn assert_elementwise<E: Element>(len: usize) {
    let x: Vec<E> = numbers::<f32>(len, 1).iter().map(|x| E::from_f32(x * 6.0)).collect();
    let dy: Vec<E> = numbers(len, 2);
    let tail = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let gelu: Vec<f64> = wide(&x).iter().map(|&x| x * tail(x)).collect();
    let slope = wide(&x).into_iter().zip(wide(&dy)).map(|(x, dy)| dy * (tail(x) + x * density(x)));
    let slope: Vec<f64> = slope.collect();
    let sum: Vec<f64> = wide(&x).iter().zip(wide(&dy)).map(|(x, dy)| x + dy).collect();
    on_each_set(|set| {
        let what = format!("{len} elements in {} on {set}", E::NAME);
        let mut y = vec![E::from_f32(f32::NAN); len];
        elementwise::gelu(&mut y, &x);
        assert_near(&y, &gelu, 4.0 * EPS, &what);
        // Far below zero the values are small but still accurate.
        for ((x, y), gelu) in wide(&x).iter().zip(wide(&y)).zip(&gelu).filter(|((x, _), _)| **x < -2.0) {
            assert!((y / gelu - 1.0).abs() < 1.0 / 250.0, "{what}: gelu({x}) = {y}, not {gelu}");
        }
        elementwise::gelu_backward(&mut y, &dy, &x);
        assert_near(&y, &slope, 8.0 * EPS, &what);
        elementwise::add(&mut y, &x, &dy);
        assert_near(&y, &sum, 0.0, &what);
        elementwise::relu(&mut y, &x);
        assert_near(&y, &wide(&x).iter().map(|x| x.max(0.0)).collect::<Vec<_>>(), 0.0, &what);
        let gate = y.clone();
        elementwise::relu_backward(&mut y, &dy, &gate);
        let gated = wide(&x).into_iter().zip(wide(&dy)).map(|(x, dy)| if x > 0.0 { dy } else { 0.0 });
        assert_near(&y, &gated.collect::<Vec<_>>(), 0.0, &what);
    });
}

fn assert_column_sums<E: Element>(rows: usize, columns: usize) {
    let x: Vec<E> = numbers(rows * columns, 1);
    let wide = wide(&x);
    let defined: Vec<f64> = (0..columns).map(|c| 1.0 + column(&wide, columns, c).sum::<f64>()).collect();
    on_each_set(|set| {
        let mut sums = vec![1.0f32; columns];
        elementwise::add_column_sums(&mut sums, &x, rows, columns);
        assert_near(&sums, &defined, EPS * rows as f64, &format!("sums ({rows}, {columns}) in {} on {set}", E::NAME));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batch_norm_agrees_with_its_definition(rows in 1..400usize, channels in 1..150usize) {
        assert_batch_norm::<f32>(rows, channels);
        assert_batch_norm::<bf16>(rows, channels);
    }

    #[test]
    fn batch_statistics_agree_with_their_definition(rows in 1..3000usize, channels in 1..40usize, offset in -1e3..1e3f32) {
        assert_statistics::<f32>(rows, channels, offset);
        assert_statistics::<bf16>(rows, channels, offset);
    }

    #[test]
    fn max_pooling_agrees_with_its_definition(
        (batch, height, width, channels) in (1..8usize, 3..10usize, 3..10usize, 1..20usize),
        (kernel, stride, padding) in (1..4usize, 1..4usize, 0..2usize),
    ) {
        let shape = PoolShape { batch, height, width, channels, kernel, stride, padding: padding.min(kernel / 2) };
        assert_max_pool::<f32>(&shape);
        assert_max_pool::<bf16>(&shape);
    }

    #[test]
    fn average_pooling_agrees_with_its_definition(batch in 1..20usize, pixels in 1..50usize, channels in 1..100usize) {
        assert_averages::<f32>(batch, pixels, channels);
        assert_averages::<bf16>(batch, pixels, channels);
    }

    #[test]
    fn layer_norm_agrees_with_its_definition(rows in 1..200usize, channels in 1..400usize, offset in -50.0..50f32) {
        assert_layer_norm::<f32>(rows, channels, offset);
        assert_layer_norm::<bf16>(rows, channels, offset);
    }

    #[test]
    fn softmax_agrees_with_its_definition(rows in 1..100usize, columns in 1..300usize, scale in -2.0..2f32) {
        assert_softmax::<f32>(rows, columns, scale);
        assert_softmax::<bf16>(rows, columns, scale);
    }

    #[test]
    fn elementwise_kernels_agree_with_their_definition(len in 0..100_000usize) {
        assert_elementwise::<f32>(len);
        assert_elementwise::<bf16>(len);
    }

    #[test]
    fn column_sums_agree_with_their_definition(rows in 0..1000usize, columns in 1..1300usize) {
        assert_column_sums::<f32>(rows, columns);
        assert_column_sums::<bf16>(rows, columns);
    }
}

#[test]
fn sums_over_many_rows_and_many_channels_agree_with_their_definition() {
    assert_statistics::<f32>(200_000, 1, 10.0);
    assert_statistics::<bf16>(70_000, 33, -3.0);
    assert_batch_norm::<f32>(40, 2050);
    assert_batch_norm::<bf16>(6000, 65);
    assert_layer_norm::<f32>(3, 40_000, 0.0);
    let (batch, height, width, channels) = (70, 20, 17, 19);
    assert_max_pool::<f32>(&PoolShape { batch, height, width, channels, kernel: 16, stride: 3, padding: 8 });
}

/// The bits of all outputs of the kernels of this module, in one format.
fn all_bits<E: Element>() -> Vec<Vec<u32>> {
    let (rows, channels) = (9 * 256, 90);
    let inputs = NormInputs::<E>::new(rows, channels);
    let normed = inputs.normed();
    let [(open, ..), (closed, dgamma, dbeta), _] = normed.gradients;
    let (x, dy) = (inputs.x, inputs.dy);
    let shape = PoolShape { batch: 9, height: 16, width: 16, channels, kernel: 3, stride: 2, padding: 1 };
    let (pooled, argmax, unpooled) = max_pooled(&shape, &x, &dy[..9 * 64 * channels]);
    let (by_element, by_channel) = layer_normed(&x, &dy, &inputs.gamma, &inputs.beta);
    let (mut gelu, mut average) = (x.clone(), vec![E::default(); 9 * channels]);
    elementwise::gelu(&mut gelu, &x);
    pool::average_forward(&mut average, &x, 9, 256, channels);
    let mut sums = vec![0.0; channels];
    elementwise::add_column_sums(&mut sums, &x, rows, channels);
    let [dz, _] = normed.dz;
    let of_format = [open, closed, normed.joined, dz, pooled, unpooled, gelu, average];
    let of_format = of_format.iter().chain(&by_element).map(|values| bits(values));
    let of_f32 = [dgamma, dbeta, sums].into_iter().chain(normed.moments).chain(by_channel);
    let argmax = argmax.into_iter().map(u32::from).collect();
    of_format.chain(of_f32.map(|values| bits(&values))).chain([argmax]).collect()
}

#[test]
fn all_have_the_same_bits_on_any_number_of_threads() {
    same_bits_on_any_threads(|| [all_bits::<f32>(), all_bits::<bf16>(), updates::bits_of_all()].concat());
}

#[test]
fn the_recomputed_gate_is_the_rectifier_s() {
    // The first row lies exactly at the kink: the rounded product cancels beta, so only the same rounding gives the
    // same gate.
    let channels = 1000;
    let (x, gamma) = (numbers::<f32>(2 * channels, 1), numbers::<f32>(channels, 2));
    let (mean, inv_std) = (numbers::<f32>(channels, 3), vec![1.7; channels]);
    let beta: Vec<f32> = (0..channels).map(|c| -((x[c] - mean[c]) * (gamma[c] * inv_std[c]))).collect();
    let norm = Normalization { mean: &mean, inv_std: &inv_std, gamma: &gamma, beta: &beta };
    on_each_set(|set| {
        let [mut y, mut dx, mut dz] = [(); 3].map(|()| vec![0.0; x.len()]);
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        batch_norm::normalize(&mut y, &x, &norm, None, true);
        let gradients = NormGradients { dgamma: &mut dgamma, dbeta: &mut dbeta };
        let (mode, dy) = (NormMode::Batch(gradients), vec![1.0; x.len()]);
        batch_norm::backward(&mut dx, Some(&mut dz), mode, &dy, &x, &norm, Gate::Recomputed);
        assert!(y.iter().zip(&dz).all(|(&y, &dz)| (y > 0.0) == (dz > 0.0)), "{set}");
        assert!(y.iter().any(|&y| y > 0.0) && y.contains(&0.0), "{set}");
    });
}

#[test]
fn nan_passes_through() {
    on_each_set(|set| {
        let x = [-1.0, 0.0, 2.0, f32::NAN, -3.0];
        let mut y = [9.0; 5];
        elementwise::relu(&mut y, &x);
        assert!(y[..3] == [0.0, 0.0, 2.0] && y[3].is_nan() && y[4] == 0.0, "{set}");
        let norm = Normalization { mean: &[0.0], inv_std: &[1.0], gamma: &[1.0], beta: &[0.0] };
        batch_norm::normalize(&mut y, &x, &norm, None, true);
        assert!(y[3].is_nan() && y[4] == 0.0, "{set}");
        elementwise::gelu(&mut y, &x);
        assert!(y[3].is_nan() && y[2] > 1.9, "{set}");
        softmax::softmax_rows(isa(), &mut y, &mut x.clone(), (1, 5), 1.0);
        assert!(y.iter().all(|y| y.is_nan()), "{set}");
        // Two channels of a 2x2 image: the first has a NaN, the second ties.
        let (mut y, mut argmax) = ([0.0; 2], [9; 2]);
        let x = [1.0, 5.0, f32::NAN, 5.0, 3.0, 2.0, 2.0, 5.0];
        let (batch, height, width, channels) = (1, 2, 2, 2);
        let shape = PoolShape { batch, height, width, channels, kernel: 2, stride: 2, padding: 0 };
        pool::max_forward(&mut y, &mut argmax, &x, &shape);
        assert!(y[0].is_nan() && y[1] == 5.0, "{set}");
        assert_eq!(argmax, [1, 0], "{set}");
        pool::max_forward(&mut y, &mut argmax, &[f32::NEG_INFINITY; 8], &shape);
        assert_eq!(argmax, [0, 0], "{set}");
    });
}

#[test]
#[should_panic(expected = "batch_norm::statistics (rows 2, channels 3): `x` has 5 elements, expected 6")]
fn a_wrong_length_names_operation_and_sizes() {
    batch_norm::statistics(&mut [0.0; 3], &mut [0.0; 3], &[0.0f32; 5], 2, 3);
}
