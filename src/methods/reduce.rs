//! Sums and largest elements in a fixed order, so that a loss has the same bits on any number of threads.

use rayon::prelude::*;
use std::ops::Range;

/// The number of partial sums that are computed in parallel. A single sum would wait for each addition.
const LANES: usize = 8;

/// The number of partial sums along one row.
const ROW_LANES: usize = 16;

/// The number of columns that one task sums. Their f64 sums stay in the first-level cache.
const COLUMNS: usize = 512;

/// The sum over i of term(a_i, b_i).
pub fn sum_pairs<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (mut of_a, mut of_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut add = |a: &[A], b: &[B]| {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, &a), &b)| *sum += term(a.into(), b.into()));
    };
    (&mut of_a).zip(&mut of_b).for_each(|(a, b)| add(a, b));
    add(of_a.remainder(), of_b.remainder());
    sums.iter().sum()
}

/// The inner product of two vectors.
pub fn inner(a: &[f32], b: &[f32]) -> f64 {
    sum_pairs(a, b, |a, b| a * b)
}

/// The sum of the products of all elements of two matrices with rows of `width`.
pub fn dot(a: &[f32], b: &[f32], width: usize) -> f64 {
    let rows = a.par_chunks(width).zip(b.par_chunks(width));
    rows.map(|(a, b)| inner(a, b)).collect::<Vec<_>>().iter().sum()
}

/// The largest element that is not NaN; minus infinity if there is none.
pub fn largest(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (whole, rest) = x.as_chunks::<ROW_LANES>();
    let mut most = [f32::NEG_INFINITY; ROW_LANES];
    for chunk in whole {
        most.iter_mut().zip(chunk).for_each(|(most, &x)| *most = larger(*most, x));
    }
    most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &x| larger(most, x))
}

/// The sum of `term` over the elements.
pub fn sum(x: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let (whole, rest) = x.as_chunks::<ROW_LANES>();
    let mut sums = [0.0; ROW_LANES];
    for chunk in whole {
        sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += term(x));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| term(x)).sum::<f64>()
}

/// The sums of `columns` columns: `add(row, columns, sums)` adds a row's values in a range of columns to `sums`.
pub fn column_sums(rows: usize, columns: usize, add: impl Fn(usize, Range<usize>, &mut [f64]) + Sync) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, sums)| {
        let range = chunk * COLUMNS..chunk * COLUMNS + sums.len();
        (0..rows).for_each(|row| add(row, range.clone(), sums));
    });
    sums
}
