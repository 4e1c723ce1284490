//! The losses' closed forms against their definitions in dfdx's f64 and against PyTorch; the state that methods keep
//! between steps against naive versions.

mod barlow_twins;
mod byol;
mod dino;
mod simsiam;
mod sinkhorn;
mod supervised;
mod swav;
mod vicreg;

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, Rank0, Tensor, Trace};
use dfdx::tensor::TensorFromVec;
use sempair::methods::LossAndGrad;
use sempair::rng::Key;
use sempair::tensor::{Const, Vectors};

const EPS: f64 = f32::EPSILON as f64;

type Taped<S> = Tensor<S, f64, Cpu, OwnedTape<f64, Cpu>>;

/// A loss and its gradient in f64.
struct Defined {
    value: f64,
    gradient: Vec<f64>,
}

/// sin(factor i), the rows of the reference scripts: `torch.arange(len).mul(factor).sin()`.
fn sines(len: usize, factor: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * factor).sin()).collect()
}

/// `len` numbers in [-1, 1), different for each `seed`.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Key::root(seed).split("methods").stream();
    (0..len).map(|_| stream.range(-1.0, 1.0)).collect()
}

/// Rows that are difficult for a loss: the last equals the first, another is zero, another is tiny.
fn hard_rows(rows: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut x = numbers(rows * width, seed);
    x.copy_within(..width, (rows - 1) * width);
    if rows > 3 {
        x[width..2 * width].fill(0.0);
        x[2 * width..3 * width].iter_mut().for_each(|x| *x *= 1e-9);
    }
    x
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// Rows as a tensor of dfdx.
fn tensor<const P: usize>(x: &[f32]) -> Tensor<Vectors<P>, f64, Cpu> {
    Cpu::default().tensor_from_vec(wide(x), (x.len() / P, Const))
}

/// The value and gradient of a loss of x, computed by dfdx.
fn defined<const P: usize>(x: &[f32], loss: impl FnOnce(Taped<Vectors<P>>) -> Taped<Rank0>) -> Defined {
    let x = tensor::<P>(x);
    let loss = loss(x.leaky_trace());
    let value = loss.array();
    Defined { value, gradient: loss.backward().get(&x).as_vec() }
}

/// The largest absolute value of an element.
fn largest(x: &[f32]) -> f64 {
    x.iter().fold(0.0, |largest, x| x.abs().max(largest)).into()
}

/// Asserts that the value is within `of_value` of the definition, and each element of the gradient within `of_gradient`
/// of its own.
fn assert_graded(ours: &LossAndGrad, defined: &Defined, of_value: f64, of_gradient: impl Fn(usize) -> f64, what: &str) {
    let off = (ours.value - defined.value).abs();
    assert!(off <= of_value, "{what}: {} is defined as {} within {of_value}", ours.value, defined.value);
    assert_eq!(ours.gradient.len(), defined.gradient.len(), "{what}");
    for (at, (&ours, &defined)) in ours.gradient.iter().zip(&defined.gradient).enumerate() {
        let tolerance = of_gradient(at) + EPS * defined.abs();
        let near = (f64::from(ours) - defined).abs() <= tolerance;
        assert!(near, "{what}: gradient[{at}] {ours} is defined as {defined} within {tolerance}");
    }
}

/// Asserts agreement with PyTorch's numbers. They are printed with nine decimals, the sines of the input may differ
/// in the last bit, and the settings are rounded to f32. `slope` bounds how strongly a result changes with the input,
/// relative to its own size.
fn assert_torch(ours: &LossAndGrad, value: f64, gradient: &[f64], slope: f64) {
    let tolerance = |expected: f64| 1e-9 + slope * EPS * (1.0 + expected.abs());
    assert!((ours.value - value).abs() <= tolerance(value), "{} for {value}", ours.value);
    assert_eq!(ours.gradient.len(), gradient.len());
    for (at, (&ours, &expected)) in ours.gradient.iter().zip(gradient).enumerate() {
        assert!((f64::from(ours) - expected).abs() <= tolerance(expected), "gradient[{at}]: {ours} for {expected}");
    }
}

#[test]
fn losses_have_the_same_bits_on_any_number_of_threads() {
    use sempair::methods::sinkhorn::{Sinkhorn, assign};
    use sempair::methods::{barlow_twins, byol, dino, simsiam, vicreg};
    let (x, y) = (numbers(2 * 40 * 700, 1), numbers(2 * 40 * 700, 2));
    let temperatures = dino::Temperatures { student: 0.1, teacher: 0.04 };
    let sinkhorn = Sinkhorn { epsilon: 0.05, iterations: 3 };
    let all = || {
        let mut centre = dino::Centre::new(700);
        centre.update(&y, 0.9);
        let graded = [
            byol::graded(&x, &y, 700),
            simsiam::graded(&x, &y, 700),
            vicreg::graded(&x, 700, vicreg::Weights::PAPER),
            vicreg::graded(&x, 7, vicreg::Weights::PAPER),
            barlow_twins::graded(&x, 700, barlow_twins::Weights::PAPER),
            barlow_twins::graded(&x, 7, barlow_twins::Weights::PAPER),
            dino::graded(&x, &y, &centre, temperatures),
            dino::shared(&x, &y, 700, temperatures),
        ];
        (graded, assign(&x, 700, 50, sinkhorn), centre)
    };
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all);
    let single = on(1);
    for threads in [2, 3, 8] {
        assert!(on(threads) == single, "{threads} threads");
    }
}
