//! Rows at unit length against their definition in f64.

use half::bf16;
use proptest::prelude::*;
use sempair::kernels::cpu::Element;
use sempair::kernels::cpu::unit_rows;

use super::EPS;
use super::assert_near;
use super::bits;
use super::numbers;
use super::on_each_set;
use super::same_bits_on_any_threads;
use super::slopes::assert_slope;
use super::wide;

/// Rows of very different lengths: one is zero, one is shorter than the minimum length 1e-12.
fn uneven<E: Element>(rows: usize, columns: usize) -> Vec<E> {
    let length = |row: usize| [1.0, 1e-4, 0.0, 1e4, 1e-15][row % 5];
    let x = numbers::<f32>(rows * columns, 1);
    x.iter().enumerate().map(|(at, x)| E::from_f32(x * length(at / columns))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(x: &[f64]) -> Vec<f64> {
    let length = dot(x, x).sqrt().max(1e-12);
    x.iter().map(|value| value / length).collect()
}

fn gradient(dy: &[f64], x: &[f64]) -> Vec<f64> {
    let (length, u) = (dot(x, x).sqrt(), unit(x));
    let along = if length < 1e-12 { 0.0 } else { dot(&u, dy) };
    dy.iter().zip(&u).map(|(dy, u)| (dy - u * along) / length.max(1e-12)).collect()
}

fn assert_unit_rows<E: Element>(rows: usize, columns: usize) {
    let (x, dy) = (uneven::<E>(rows, columns), numbers::<E>(rows * columns, 2));
    // A sum of squares in f32 is accurate to half an EPS for each term, and so is the product with dy.
    let noise = EPS * (4 + columns) as f64;
    on_each_set(|set| {
        let what = format!("unit rows ({rows}, {columns}) in {} on {set}", E::NAME);
        let (mut y, mut dx) = (vec![E::from_f32(f32::NAN); x.len()], vec![E::from_f32(f32::NAN); x.len()]);
        unit_rows::forward(&mut y, &x, columns);
        unit_rows::backward(&mut dx, &dy, &x, columns);
        for row in 0..rows {
            let row = row * columns..(row + 1) * columns;
            let (x, dy) = (wide(&x[row.clone()]), wide(&dy[row.clone()]));
            assert_near(&y[row.clone()], &unit(&x), noise, &what);
            let scale = dot(&dy, &dy).sqrt() / dot(&x, &x).sqrt().max(1e-12);
            assert_near(&dx[row], &gradient(&dy, &x), 2.0 * noise * scale, &what);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unit_rows_agree_with_their_definition(rows in 1..200usize, columns in 1..400usize) {
        assert_unit_rows::<f32>(rows, columns);
        assert_unit_rows::<bf16>(rows, columns);
    }
}

#[test]
fn long_unit_rows_agree_with_their_definition() {
    assert_unit_rows::<f32>(3, 40_000);
}

#[test]
fn unit_rows_backward_agrees_with_finite_differences_and_adds_to_weights() {
    let (x, dy) = (numbers::<f32>(3 * 7, 1), numbers::<f32>(3 * 7, 2));
    let objective = |x: &[f64]| dot(&x.chunks_exact(7).flat_map(unit).collect::<Vec<_>>(), &wide(&dy));
    on_each_set(|set| {
        let (mut dx, mut added) = (vec![f32::NAN; x.len()], vec![1.0; x.len()]);
        unit_rows::backward(&mut dx, &dy, &x, 7);
        assert_slope(&dx, &x, objective, set);
        unit_rows::add_backward(&mut added, &dy, &x, 7);
        assert!(added.iter().zip(&dx).all(|(added, dx)| *added == dx + 1.0), "{set}");
    });
}

#[test]
fn a_nan_makes_its_row_nan() {
    on_each_set(|set| {
        let mut y = [0.0; 4];
        unit_rows::forward(&mut y, &[1.0, f32::NAN, 3.0, 4.0], 2);
        assert!(y[0].is_nan() && y[1].is_nan() && y[2..] == [0.6, 0.8], "{set}: {y:?}");
    });
}

#[test]
fn unit_rows_have_the_same_bits_on_any_number_of_threads() {
    fn bits_of<E: Element>() -> Vec<Vec<u32>> {
        let (rows, columns) = (900, 130);
        let (x, dy) = (uneven::<E>(rows, columns), numbers::<E>(rows * columns, 2));
        let (mut y, mut dx) = (x.clone(), x.clone());
        unit_rows::forward(&mut y, &x, columns);
        unit_rows::backward(&mut dx, &dy, &x, columns);
        vec![bits(&y), bits(&dx)]
    }
    same_bits_on_any_threads(|| [bits_of::<f32>(), bits_of::<bf16>()].concat());
}
