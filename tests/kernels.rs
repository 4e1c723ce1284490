//! Every fast kernel against its definition: over random shapes, on each instruction set present, on several numbers
//! of threads.

use proptest::prelude::*;
use sempair::kernels::cpu::Isa;
use sempair::kernels::cpu::batch_norm;
use sempair::kernels::cpu::conv2d;
use sempair::kernels::cpu::conv2d::Conv2d;
use sempair::kernels::cpu::definition;
use sempair::kernels::cpu::elementwise;
use sempair::kernels::cpu::linear;
use sempair::kernels::cpu::matmul;
use sempair::kernels::cpu::pool;
use sempair::kernels::cpu::update;
use sempair::kernels::cpu::with_isa;
use sempair::rng::Key;

const THREADS: [usize; 4] = [1, 2, 3, 8];

/// `len` numbers in [-1, 1), different for each `seed`.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Key::root(seed).split("kernels").stream();
    (0..len).map(|_| stream.range(-1.0, 1.0)).collect()
}

fn sets() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// A sum of `terms` products of numbers below 1, added one by one, is off by at most eps times the sum of its partial
/// sums, each at most its number of terms; for random signs that is far less, and eps times `terms` bounds it.
fn assert_sums(fast: &[f32], definition: &[f32], terms: usize, what: &str) {
    assert_eq!(fast.len(), definition.len(), "{what}");
    let tolerance = f32::EPSILON * (terms + 2) as f32;
    for (at, (f, d)) in fast.iter().zip(definition).enumerate() {
        assert!((f - d).abs() <= tolerance, "{what}: element {at} is {f}, defined as {d}, tolerance {tolerance}");
    }
}

/// Runs `body` on pools of every number of threads and asserts that all results have the same bits.
fn same_bits_on_any_threads(body: impl Fn() -> Vec<f32> + Sync) {
    let results: Vec<Vec<u32>> = THREADS
        .iter()
        .map(|&threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| body().iter().map(|value| value.to_bits()).collect())
        })
        .collect();
    for (result, threads) in results.iter().zip(THREADS) {
        assert!(*result == results[0], "{threads} threads give other bits than 1");
    }
}

/// Output, input gradient and weight gradient (added to ones).
fn convolve(shape: &Conv2d) -> [Vec<f32>; 3] {
    let (x, w) = (numbers(shape.input_len(), 1), numbers(shape.weight_len(), 2));
    let dy = numbers(shape.output_len(), 3);
    let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
    let mut dw = vec![1.0; w.len()];
    conv2d::forward(&mut y, &x, &w, shape);
    conv2d::input_gradient(&mut dx, &dy, &w, shape);
    conv2d::weight_gradient(&mut dw, &x, &dy, shape);
    [y, dx, dw]
}

fn convolve_by_definition(shape: &Conv2d) -> [Vec<f32>; 3] {
    let (x, w) = (numbers(shape.input_len(), 1), numbers(shape.weight_len(), 2));
    let dy = numbers(shape.output_len(), 3);
    let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
    let mut dw = vec![1.0; w.len()];
    definition::conv2d_forward(&mut y, &x, &w, shape);
    definition::conv2d_input_gradient(&mut dx, &dy, &w, shape);
    definition::conv2d_weight_gradient(&mut dw, &x, &dy, shape);
    [y, dx, dw]
}

fn assert_convolution(shape: &Conv2d) {
    let defined = convolve_by_definition(shape);
    let taps = shape.kernel * shape.kernel;
    let pixels = shape.batch * shape.out_height() * shape.out_width();
    let terms = [taps * shape.in_channels, taps * shape.out_channels, pixels];
    for isa in sets() {
        let fast = with_isa(isa, || convolve(shape));
        for ((fast, defined), (terms, name)) in fast.iter().zip(&defined).zip(terms.into_iter().zip(["y", "dx", "dw"]))
        {
            assert_sums(fast, defined, terms, &format!("{name} of {shape:?} on {}", isa.name()));
        }
    }
}

fn shapes() -> impl Strategy<Value = Conv2d> {
    let sizes = (1..30usize, 1..13usize, 1..13usize, 1..70usize, 1..70usize);
    let window = (prop_oneof![Just(1usize), Just(3), Just(7)], 1..3usize, 0..4usize);
    (sizes, window).prop_map(|((batch, height, width, in_channels, out_channels), (kernel, stride, padding))| {
        // The kernel must fit, and the definition must stay cheap.
        let padding = padding.min(kernel).max(kernel.saturating_sub(height.min(width)).div_ceil(2));
        let work = |batch: usize| batch * height * width * in_channels * out_channels * kernel * kernel;
        let batch = (1..=batch).rev().find(|&batch| work(batch) < 3_000_000).unwrap_or(1);
        Conv2d { batch, height, width, in_channels, out_channels, kernel, stride, padding }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolution_agrees_with_its_definition(shape in shapes()) {
        assert_convolution(&shape);
    }

    #[test]
    fn products_agree_with_their_definition(m in 0..90usize, k in 0..150usize, n in 0..90usize) {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let mut defined = [(); 3].map(|()| vec![f32::NAN; m * n]);
        definition::product(&mut defined[0], (&a, |i, l| i * k + l), (&b, |l, j| l * n + j), (m, k, n));
        definition::product(&mut defined[1], (&a, |i, l| i * k + l), (&b, |l, j| j * k + l), (m, k, n));
        definition::product(&mut defined[2], (&a, |i, l| l * m + i), (&b, |l, j| l * n + j), (m, k, n));
        for isa in sets() {
            let products = [matmul::nn, matmul::nt, matmul::tn];
            for ((product, defined), name) in products.into_iter().zip(&defined).zip(["nn", "nt", "tn"]) {
                let mut c = vec![f32::NAN; m * n];
                with_isa(isa, || product(&mut c, &a, &b, m, k, n));
                assert_sums(&c, defined, k, &format!("{name} (m {m}, k {k}, n {n}) on {}", isa.name()));
            }
        }
    }

    #[test]
    fn max_pooling_agrees_with_its_definition(
        (batch, height, width, channels) in (1..4usize, 3..10usize, 3..10usize, 1..20usize),
        (kernel, stride, padding) in (2..4usize, 1..3usize, 0..2usize),
    ) {
        // Few different values, so that ties are common.
        let x: Vec<f32> = numbers(batch * height * width * channels, 1).iter().map(|x| (x * 3.0).round()).collect();
        let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        let (out_height, out_width) = (out(height), out(width));
        let len = batch * out_height * out_width * channels;
        let (mut y, mut argmax, dy) = (vec![0.0; len], vec![0; len], numbers(len, 2));
        pool::max_forward(&mut y, &mut argmax, &x, batch, height, width, channels, kernel, stride, padding);
        let mut dx = vec![f32::NAN; x.len()];
        pool::max_backward(&mut dx, &dy, &argmax, batch, height, width, channels, kernel, stride, padding);
        let mut expected_dx = vec![0.0; x.len()];
        for at in 0..len {
            let (c, pixel) = (at % channels, at / channels);
            let (ox, oy, n) = (pixel % out_width, pixel / out_width % out_height, pixel / out_width / out_height);
            let mut best: Option<(usize, usize)> = None;
            for tap in 0..kernel * kernel {
                let (iy, ix) = (oy * stride + tap / kernel, ox * stride + tap % kernel);
                if (padding..height + padding).contains(&iy) && (padding..width + padding).contains(&ix) {
                    let place = ((n * height + iy - padding) * width + ix - padding) * channels + c;
                    if best.is_none_or(|(_, best)| x[place] > x[best]) {
                        best = Some((tap, place));
                    }
                }
            }
            let (tap, place) = best.unwrap();
            prop_assert_eq!((usize::from(argmax[at]), y[at]), (tap, x[place]));
            expected_dx[place] += dy[at];
        }
        prop_assert_eq!(dx, expected_dx);
    }

    #[test]
    fn batch_statistics_agree_with_their_definition(rows in 1..3000usize, channels in 1..40usize, offset in -1e3..1e3f32) {
        let x: Vec<f32> = numbers(rows * channels, 1).iter().map(|x| x + offset).collect();
        let (mut mean, mut var) = (vec![0.0; channels], vec![0.0; channels]);
        batch_norm::statistics(&mut mean, &mut var, &x, rows, channels);
        for c in 0..channels {
            let column = || (0..rows).map(|row| f64::from(x[row * channels + c]));
            let true_mean = column().sum::<f64>() / rows as f64;
            let true_var = column().map(|x| (x - true_mean).powi(2)).sum::<f64>() / rows as f64;
            // A block holds at most 32768 rows of one channel; its f32 sums have random rounding errors, hence the root.
            let eps = f64::from(f32::EPSILON);
            let tolerance = eps * (true_mean.abs() + (rows as f64).sqrt());
            prop_assert!((f64::from(mean[c]) - true_mean).abs() <= tolerance, "mean {} for {true_mean}", mean[c]);
            let tolerance = 4.0 * eps * (rows as f64).sqrt() + tolerance * tolerance;
            prop_assert!((f64::from(var[c]) - true_var).abs() <= tolerance, "var {} for {true_var}", var[c]);
        }
    }
}

#[test]
fn convolutions_of_networks_agree_with_their_definition() {
    let shape = |batch, size, in_channels, out_channels, kernel, stride, padding| Conv2d {
        batch,
        height: size,
        width: size,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
    };
    assert_convolution(&shape(3, 32, 3, 16, 7, 2, 3)); // a stem
    assert_convolution(&shape(26, 8, 16, 32, 3, 1, 1)); // several groups of images and lanes of terms
    assert_convolution(&shape(64, 2, 64, 64, 3, 1, 1)); // more padding than image
    assert_convolution(&shape(14, 8, 32, 64, 1, 2, 0)); // a projection that skips pixels
}

#[test]
fn linear_layers_agree_with_their_definition() {
    let (rows, inputs, outputs) = (150, 130, 70);
    let (x, w, bias) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2), numbers(outputs, 3));
    let dy = numbers(rows * outputs, 4);
    for isa in sets() {
        let (mut y, mut dx) = (vec![f32::NAN; rows * outputs], vec![f32::NAN; rows * inputs]);
        let (mut dw, mut db) = (vec![1.0; outputs * inputs], vec![1.0; outputs]);
        with_isa(isa, || {
            linear::forward(&mut y, &x, &w, Some(&bias), rows, inputs, outputs);
            linear::input_gradient(&mut dx, &dy, &w, rows, inputs, outputs);
            linear::weight_gradient(&mut dw, &x, &dy, rows, inputs, outputs);
            linear::bias_gradient(&mut db, &dy, rows, outputs);
        });
        let mut defined = vec![0.0; y.len()];
        definition::product(
            &mut defined,
            (&x, |i, l| i * inputs + l),
            (&w, |l, j| j * inputs + l),
            (rows, inputs, outputs),
        );
        defined.iter_mut().enumerate().for_each(|(at, y)| *y += bias[at % outputs]);
        assert_sums(&y, &defined, inputs, "y");
        let mut defined = vec![0.0; dx.len()];
        definition::product(
            &mut defined,
            (&dy, |i, l| i * outputs + l),
            (&w, |l, j| l * inputs + j),
            (rows, outputs, inputs),
        );
        assert_sums(&dx, &defined, outputs, "dx");
        let mut defined = vec![0.0; dw.len()];
        definition::product(
            &mut defined,
            (&dy, |i, l| l * outputs + i),
            (&x, |l, j| l * inputs + j),
            (outputs, rows, inputs),
        );
        defined.iter_mut().for_each(|dw| *dw += 1.0);
        assert_sums(&dw, &defined, rows, "dw");
        let defined: Vec<f32> =
            (0..outputs).map(|o| 1.0 + (0..rows).map(|row| dy[row * outputs + o]).sum::<f32>()).collect();
        assert_sums(&db, &defined, rows, "db");
    }
}

#[test]
fn convolution_has_the_same_bits_on_any_number_of_threads() {
    let small = Conv2d {
        batch: 50,
        height: 12,
        width: 12,
        in_channels: 24,
        out_channels: 40,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let deep = Conv2d {
        batch: 32,
        height: 4,
        width: 4,
        in_channels: 160,
        out_channels: 130,
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    for isa in sets() {
        for shape in [small, deep] {
            same_bits_on_any_threads(|| with_isa(isa, || convolve(&shape).concat()));
        }
    }
}

#[test]
fn matrix_products_have_the_same_bits_on_any_number_of_threads() {
    let (m, k, n) = (301, 260, 190);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    for product in [matmul::nn, matmul::nt, matmul::tn] {
        same_bits_on_any_threads(|| {
            let mut c = vec![0.0; m * n];
            product(&mut c, &a, &b, m, k, n);
            c
        });
    }
}

#[test]
fn everything_else_has_the_same_bits_on_any_number_of_threads() {
    let (batch, size, channels) = (9, 16, 30);
    let rows = batch * size * size;
    let (x, dy) = (numbers(rows * channels, 1), numbers(rows * channels, 2));
    same_bits_on_any_threads(|| {
        let [mut mean, mut var, mut dgamma, mut dbeta] = [(); 4].map(|()| vec![0.0; channels]);
        batch_norm::statistics(&mut mean, &mut var, &x, rows, channels);
        let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        batch_norm::normalize(&mut y, &x, &mean, &var, &mean, &var, rows, channels);
        batch_norm::backward(&mut dx, &mut dgamma, &mut dbeta, &dy, &x, &mean, &var, &mean, rows, channels);
        let len = batch * 64 * channels;
        let (mut pooled, mut argmax) = (vec![0.0; len], vec![0; len]);
        pool::max_forward(&mut pooled, &mut argmax, &y, batch, size, size, channels, 3, 2, 1);
        pool::max_backward(&mut y, &pooled, &argmax, batch, size, size, channels, 3, 2, 1);
        let (mut p, mut v) = (x.clone(), dx.clone());
        update::sgd(&mut p, &mut v, &dy, 0.1, 0.9, 1e-4, true, 1.0);
        let norm = update::norm(&p) as f32;
        [mean, var, y, dx, pooled, dgamma, dbeta, p, v, vec![norm]].concat()
    });
}

// The exact gradients of sum(weight * y), with f64 differences of the definition in place of autograd.
#[test]
fn batch_norm_backward_agrees_with_finite_differences() {
    let (rows, channels) = (7, 3);
    let (x, weight) = (numbers(rows * channels, 1), numbers(rows * channels, 2));
    let (gamma, beta) = ([0.5f32, -1.5, 2.0], [0.1f32, 0.2, 0.3]);
    let [mut mean, mut var, mut dgamma, mut dbeta] = [(); 4].map(|()| vec![0.0f32; channels]);
    batch_norm::statistics(&mut mean, &mut var, &x, rows, channels);
    let inv_std: Vec<f32> = var.iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
    let mut dx = vec![f32::NAN; x.len()];
    batch_norm::backward(&mut dx, &mut dgamma, &mut dbeta, &weight, &x, &mean, &inv_std, &gamma, rows, channels);

    let objective = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let mut total = 0.0;
        for c in 0..channels {
            let column: Vec<f64> = (0..rows).map(|row| x[row * channels + c]).collect();
            let mean = column.iter().sum::<f64>() / rows as f64;
            let var = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
            for (row, x) in column.iter().enumerate() {
                let y = gamma[c] * (x - mean) / (var + 1e-5).sqrt() + beta[c];
                total += f64::from(weight[row * channels + c]) * y;
            }
        }
        total
    };
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let point = [wide(&x), wide(&gamma), wide(&beta)];
    for (which, gradient) in [&dx, &dgamma, &dbeta].into_iter().enumerate() {
        for at in 0..gradient.len() {
            let value = |step: f64| {
                let mut moved = point.clone();
                moved[which][at] += step;
                objective(&moved[0], &moved[1], &moved[2])
            };
            // The central difference is off by some step², far below f32's eps times the gradient's dozen terms.
            let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
            let tolerance = 64.0 * f64::from(f32::EPSILON) * (1.0 + slope.abs());
            assert!((f64::from(gradient[at]) - slope).abs() < tolerance, "{which}/{at}: {} for {slope}", gradient[at]);
        }
    }
}

#[test]
fn normalize_and_the_elementwise_kernels_do_what_they_say() {
    let mut y = [0.0; 4];
    batch_norm::normalize(&mut y, &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0], &[0.5, 2.0], &[4.0, 3.0], &[0.0, 1.0], 2, 2);
    assert_eq!(y, [0.0, 1.0, 4.0, 13.0]);
    elementwise::relu(&mut y, &[-1.0, 0.0, 2.0, f32::NAN]);
    assert!(y[..3] == [0.0, 0.0, 2.0] && y[3].is_nan());
    let mut dx = [9.0; 4];
    elementwise::relu_backward(&mut dx, &[1.0, 2.0, 3.0, 4.0], &[0.0, -1.0, 0.5, 1.0]);
    assert_eq!(dx, [0.0, 0.0, 3.0, 4.0]);
    elementwise::add(&mut y, &dx, &[1.0; 4]);
    elementwise::add_assign(&mut y, &[1.0; 4]);
    assert_eq!(y, [2.0, 2.0, 5.0, 6.0]);
}

#[test]
fn max_pooling_lets_nan_through_and_takes_the_first_maximum() {
    let (mut y, mut argmax) = ([0.0; 2], [9; 2]);
    // Two channels of a 2x2 image: the first has a NaN, the second ties.
    let x = [1.0, 5.0, f32::NAN, 5.0, 3.0, 2.0, 2.0, 5.0];
    pool::max_forward(&mut y, &mut argmax, &x, 1, 2, 2, 2, 2, 2, 0);
    assert!(y[0].is_nan() && y[1] == 5.0);
    assert_eq!(argmax, [1, 0]);
}

#[test]
fn average_pooling_spreads_its_gradient() {
    let (mut y, mut dx) = ([0.0; 2], [0.0; 4]);
    pool::average_forward(&mut y, &[1.0, 2.0, 3.0, 6.0], 1, 2, 2);
    assert_eq!(y, [2.0, 4.0]);
    pool::average_backward(&mut dx, &y, 1, 2, 2);
    assert_eq!(dx, [1.0, 2.0, 1.0, 2.0]);
}

// By hand, after torch.optim.SGD's pseudocode: g = 0.5 + 0.1 * 1; v = 0.9 * 2 + 0.6; p = 1 - 0.1 * v,
// or with Nesterov p = 1 - 0.1 * (0.6 + 0.9 * 2.4).
#[test]
fn sgd_follows_its_definition() {
    for (nesterov, expected) in [(false, 0.76f32), (true, 0.724)] {
        let (mut p, mut v) = ([1.0], [2.0]);
        update::sgd(&mut p, &mut v, &[0.5], 0.1, 0.9, 0.1, nesterov, 1.0);
        assert!((p[0] - expected).abs() < 1e-6 && (v[0] - 2.4f32).abs() < 1e-6, "{p:?} {v:?}");
    }
}

// By hand, after torch.optim.AdamW's pseudocode: at step 1 from zero moments, m̂ = g and v̂ = g², so that
// p = 1 (1 - 0.1 * 0.01) - 0.1 * 0.5 / (0.5 + 1e-8) = 0.899; with the same gradient again, m̂ and v̂ stay:
// p = 0.899 * 0.999 - 0.1 = 0.798101.
#[test]
fn adamw_follows_its_definition() {
    let (mut p, mut m, mut v) = ([1.0], [0.0], [0.0]);
    for (step, expected) in [(1, 0.899f32), (2, 0.798_101)] {
        update::adamw(&mut p, &mut m, &mut v, &[0.5], 0.1, (0.9, 0.999), 1e-8, 0.01, step);
        assert!((p[0] - expected).abs() < 1e-5, "step {step}: {p:?}");
    }
}

#[test]
fn the_norm_is_euclidean() {
    let mut x = vec![0.0; 40_000];
    (x[0], x[39_999]) = (3.0, 4.0);
    assert_eq!(update::norm(&x), 5.0);
}

#[test]
#[should_panic(expected = "matmul::nn (m 2, k 3, n 4): `b` has 11 elements, expected 12")]
fn a_wrong_length_names_operation_and_sizes() {
    matmul::nn(&mut [0.0; 8], &[0.0; 6], &[0.0; 11], 2, 3, 4);
}
