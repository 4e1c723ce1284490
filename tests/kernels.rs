//! Every fast kernel against its definition: over random shapes, on each instruction set present, on several numbers
//! of threads.

use half::bf16;
use proptest::prelude::*;
use sempair::kernels::cpu::Element;
use sempair::kernels::cpu::Isa;
use sempair::kernels::cpu::conv2d;
use sempair::kernels::cpu::definition;
use sempair::kernels::cpu::linear;
use sempair::kernels::cpu::linear::Added;
use sempair::kernels::cpu::matmul;
use sempair::kernels::cpu::with_isa;
use sempair::kernels::shapes::ConvShape;
use sempair::kernels::shapes::Layout;
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

/// Asserts that sums of `terms` products of numbers below 1 agree. The error of such a sum, added one by one, is at
/// most eps times the sum of its partial sums, and each partial sum is at most its number of terms. For random signs
/// it is far less, and eps times `terms` bounds it. In bf16, two sums with this difference may be rounded to
/// neighbouring numbers.
fn assert_sums<E: Element>(fast: &[E], definition: &[E], terms: usize, what: &str) {
    assert_eq!(fast.len(), definition.len(), "{what}");
    let step = if E::NAME == "bf16" { f32::powi(2.0, -7) } else { 0.0 };
    for (at, (f, d)) in fast.iter().zip(definition).enumerate() {
        let (f, d) = (f.to_f32(), d.to_f32());
        let tolerance = f32::EPSILON * (terms + 2) as f32 + step * d.abs();
        assert!((f - d).abs() <= tolerance, "{what}: element {at} is {f}, defined as {d}, tolerance {tolerance}");
    }
}

fn numbers_of<E: Element>(len: usize, seed: u64) -> Vec<E> {
    numbers(len, seed).into_iter().map(E::from_f32).collect()
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

/// The output, the input gradient (added to random numbers) and the weight gradient (added to ones, in f32).
struct Results<E> {
    y: Vec<E>,
    dx: Vec<E>,
    dw: Vec<f32>,
}

/// Whether a convolution may be computed by Winograd's method.
fn may_be_transformed(shape: &ConvShape) -> bool {
    shape.layout == Layout::Maps && (shape.kernel, shape.stride, shape.padding) == (3, 1, 1)
}

/// The three products of a convolution, by the fast kernels or by their definitions; with a bias if the number of output
/// channels is even.
fn convolve<E: Element>(shape: &ConvShape, by_definition: bool) -> Results<E> {
    let (x, mut w) = (numbers_of::<E>(shape.input_len(), 1), numbers(shape.weight_len(), 2));
    let mut bias = numbers(shape.out_channels, 5);
    if may_be_transformed(shape) {
        // The direct method rounds the weights to the format of the activations, Winograd's does not, but it rounds the
        // bias. With numbers that are already rounded, this makes no difference.
        w.iter_mut().chain(&mut bias).for_each(|w| *w = E::from_f32(*w).to_f32());
    }
    let bias = shape.out_channels.is_multiple_of(2).then_some(&bias[..]);
    let (dy, onto) = (numbers_of::<E>(shape.output_len(), 3), numbers_of::<E>(shape.input_len(), 4));
    let nan = E::from_f32(f32::NAN);
    let (mut y, mut dx, mut dw) = (vec![nan; dy.len()], vec![nan; x.len()], vec![1.0; w.len()]);
    if by_definition {
        definition::conv2d_forward(&mut y, &x, &w, bias, shape);
        definition::conv2d_input_gradient(&mut dx, &dy, &w, Some(&onto), shape);
        definition::conv2d_weight_gradient(&mut dw, &x, &dy, shape);
    } else {
        conv2d::forward(&mut y, &x, &w, bias, shape);
        conv2d::input_gradient(&mut dx, &dy, &w, Some(&onto), shape);
        conv2d::weight_gradient(&mut dw, &x, &dy, shape);
    }
    Results { y, dx, dw }
}

fn assert_convolution_of<E: Element>(shape: &ConvShape) {
    let defined = convolve::<E>(shape, true);
    let taps = shape.kernel * shape.kernel;
    let pixels = shape.batch * shape.out_height() * shape.out_width();
    for isa in sets() {
        let fast = with_isa(isa, || convolve::<E>(shape, false));
        let what = |name: &str| format!("{name} of {shape:?} in {} on {}", E::NAME, isa.name());
        // The partial sums of Winograd's method are larger than its result. With G, B and A of F(4x4, 3x3) and
        // numbers of random signs, the root mean square of its partial sums at output k of a line is that of the
        // direct sum times the root of sum_i A(k, i)^2 |G_i|^2 |B_i|^2 / 3. In a square this factor is at most 8.2;
        // for weights, 6.6.
        let larger = if may_be_transformed(shape) { 9 } else { 1 };
        assert_sums(&fast.y, &defined.y, larger * taps * shape.in_channels, &what("y"));
        assert_sums(&fast.dx, &defined.dx, larger * taps * shape.out_channels, &what("dx"));
        assert_sums(&fast.dw, &defined.dw, larger * pixels, &what("dw"));
    }
}

fn assert_convolution(shape: &ConvShape) {
    assert_convolution_of::<f32>(shape);
    assert_convolution_of::<bf16>(shape);
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let sizes = (1..40usize, 1..13usize, 1..13usize, 1..70usize, 1..70usize);
    let window = (prop_oneof![Just(1usize), Just(3), Just(7)], 1..3usize, 0..4usize);
    let layouts = prop_oneof![Just(Layout::Images), Just(Layout::Maps)];
    (layouts, sizes, window).prop_map(|(layout, sizes, (kernel, stride, padding))| {
        let (batch, height, width, in_channels, out_channels) = sizes;
        // The kernel must fit, and the definition must stay cheap.
        let padding = padding.min(kernel).max(kernel.saturating_sub(height.min(width)).div_ceil(2));
        let work = |batch: usize| batch * height * width * in_channels * out_channels * kernel * kernel;
        let batch = (1..=batch).rev().find(|&batch| work(batch) < 3_000_000).unwrap_or(1);
        ConvShape { layout, batch, height, width, in_channels, out_channels, kernel, stride, padding }
    })
}

/// Shapes for Winograd's method: many channels, at least 128 squares, and some sides that end inside a square.
fn transformed_shapes() -> impl Strategy<Value = ConvShape> {
    let side = || prop_oneof![Just(4usize), Just(7), Just(8), Just(10), Just(11), Just(12), Just(16)];
    (0..6usize, side(), side(), 32..70usize, 32..70usize).prop_map(
        |(more, height, width, in_channels, out_channels)| {
            let (layout, squares) = (Layout::Maps, height.div_ceil(4) * width.div_ceil(4));
            let batch = 128usize.div_ceil(squares) + more;
            ConvShape { layout, batch, height, width, in_channels, out_channels, kernel: 3, stride: 1, padding: 1 }
        },
    )
}

/// Shapes with few weights and many images, whose weight gradients are summed separately over parts of the images.
fn shapes_in_parts() -> impl Strategy<Value = ConvShape> {
    let layouts = prop_oneof![Just(Layout::Images), Just(Layout::Maps)];
    let sizes = (63..140usize, 3..7usize, 3..7usize, 1..12usize, 1..40usize);
    (layouts, sizes, prop_oneof![Just((1, 0)), Just((3, 1))], 1..3usize).prop_map(
        |(layout, (batch, height, width, in_channels, out_channels), (kernel, padding), stride)| ConvShape {
            layout,
            batch,
            height,
            width,
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolution_agrees_with_its_definition(shape in shapes()) {
        assert_convolution(&shape);
    }

    #[test]
    fn convolution_in_parts_agrees_with_its_definition(shape in shapes_in_parts()) {
        assert_convolution(&shape);
    }

    #[test]
    fn transformed_convolution_agrees_with_its_definition(shape in transformed_shapes()) {
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
}

#[test]
fn convolutions_of_networks_agree_with_their_definition() {
    let shape = |batch, size, in_channels, out_channels, kernel, stride, padding| ConvShape {
        layout: if in_channels == 3 { Layout::Images } else { Layout::Maps },
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
    assert_convolution(&shape(140, 4, 64, 96, 3, 1, 1)); // a single square, and several blocks of its images
    assert_convolution(&shape(14, 8, 32, 64, 1, 2, 0)); // a projection that skips pixels
    assert_convolution(&shape(30, 1, 2048, 34, 1, 1, 0)); // rows that alias in the cache
    assert_convolution(&shape(512, 8, 8, 16, 1, 1, 0)); // many parts of the images
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
            linear::forward(&mut y, &x, &w, Added { onto: None, bias: Some(&bias) }, rows, inputs, outputs);
            linear::input_gradient(&mut dx, &dy, &w, None, rows, inputs, outputs);
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

fn all_as_f32<E: Element>(results: Results<E>) -> Vec<f32> {
    results.y.iter().chain(&results.dx).map(|value| value.to_f32()).chain(results.dw).collect()
}

#[test]
fn convolution_has_the_same_bits_on_any_number_of_threads() {
    let small = ConvShape {
        layout: Layout::Maps,
        batch: 70,
        height: 12,
        width: 12,
        in_channels: 24,
        out_channels: 40,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let deep = ConvShape {
        layout: Layout::Maps,
        batch: 32,
        height: 4,
        width: 4,
        in_channels: 160,
        out_channels: 130,
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let transformed = ConvShape { batch: 50, in_channels: 64, out_channels: 96, height: 8, ..small };
    for isa in sets() {
        for shape in [small, deep, transformed] {
            same_bits_on_any_threads(|| with_isa(isa, || all_as_f32(convolve::<f32>(&shape, false))));
            same_bits_on_any_threads(|| with_isa(isa, || all_as_f32(convolve::<bf16>(&shape, false))));
        }
    }
}

#[test]
fn a_sum_of_no_products_is_zero() {
    for isa in sets() {
        for product in [matmul::nn, matmul::nt, matmul::tn] {
            let mut c = [f32::NAN; 6];
            with_isa(isa, || product(&mut c, &[], &[], 2, 0, 3));
            assert_eq!(c, [0.0; 6], "{}", isa.name());
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
#[should_panic(expected = "matmul::nn (m 2, k 3, n 4): `b` has 11 elements, expected 12")]
fn a_wrong_length_names_operation_and_sizes() {
    matmul::nn(&mut [0.0; 8], &[0.0; 6], &[0.0; 11], 2, 3, 4);
}
