//! Limited-memory BFGS: the minimum of a smooth convex function from values and gradients.
//!
//! This is the two-loop recursion of Nocedal and Wright, Numerical Optimization, 2nd edition, Algorithm 7.4. It
//! starts from the caller's approximation of the inverse Hessian: the better the approximation, the fewer steps
//! are needed. The line search brackets a step that satisfies the Wolfe conditions. Because sums in single
//! precision are noisy near the minimum, the decrease may also be shown by the slope (approximate Wolfe
//! conditions, Hager and Zhang 2005, <https://doi.org/10.1137/030601880>). Everything runs in a fixed order, so
//! equal functions give bit-identical results.

use std::collections::VecDeque;

use rayon::prelude::*;

/// Where the search ended.
pub struct Minimum {
    /// The last iterate.
    pub at: Vec<f64>,
    /// Steps taken.
    pub iterations: usize,
    /// Whether no component of the gradient exceeds the tolerance.
    pub converged: bool,
}

/// When to stop.
#[derive(Clone, Copy)]
pub struct Stop {
    /// Maximum number of steps.
    pub iterations: usize,
    /// Largest absolute value of a gradient component that counts as zero.
    pub tolerance: f64,
}

/// Number of past steps that describe the curvature.
const MEMORY: usize = 10;
/// Wolfe conditions: the share of the predicted decrease that a step must reach, and the share
/// of the slope that may remain.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Relative noise of the function's values.
const NOISE: f64 = 1e-6;
/// Maximum number of trials of one line search. Halving a bracket more often than this goes below single precision.
const TRIALS: usize = 30;

/// A point with the function's value and gradient there.
struct Point {
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A step s and the change of gradient y along it.
struct Correction {
    s: Vec<f64>,
    y: Vec<f64>,
    inverse_sy: f64,
    /// s.y / (y.P y): how much larger the inverse Hessian was along the step than the caller's P.
    scale: f64,
}

/// Minimises `function(x, gradient) -> value`, which overwrites `gradient`, from `start`. `precondition(v)` is P v,
/// with P symmetric, positive definite and near the inverse Hessian.
pub fn minimise(
    start: Vec<f64>,
    stop: Stop,
    precondition: impl Fn(&[f64]) -> Vec<f64>,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let mut evaluate = |x: Vec<f64>| {
        let mut gradient = vec![0.0; x.len()];
        let value = function(&x, &mut gradient);
        Point { x, value, gradient }
    };
    let mut point = evaluate(start);
    let mut memory = VecDeque::with_capacity(MEMORY);
    let mut iterations = 0;
    while largest(&point.gradient) > stop.tolerance && iterations < stop.iterations {
        let direction = direction(&point.gradient, &memory, &precondition);
        match line_search(&point, &direction, &mut evaluate) {
            Some(next) => {
                remember(&mut memory, &point, &next, &precondition);
                point = next;
                iterations += 1;
            }
            // The curvature may be stale: try once more along P times the gradient.
            None if !memory.is_empty() => memory.clear(),
            None => break,
        }
    }
    Minimum { converged: largest(&point.gradient) <= stop.tolerance, at: point.x, iterations }
}

/// -H g, with H the inverse Hessian: P, corrected by the steps in the memory.
fn direction(gradient: &[f64], memory: &VecDeque<Correction>, precondition: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for c in memory.iter().rev() {
        let alpha = c.inverse_sy * dot(&c.s, &q);
        add_scaled(&mut q, -alpha, &c.y);
        alphas.push(alpha);
    }
    let mut q = precondition(&q);
    if let Some(last) = memory.back() {
        q.iter_mut().for_each(|q| *q *= last.scale);
    }
    for (c, alpha) in memory.iter().zip(alphas.into_iter().rev()) {
        let beta = c.inverse_sy * dot(&c.y, &q);
        add_scaled(&mut q, alpha - beta, &c.s);
    }
    q
}

/// The first trial that satisfies the conditions. The step starts at 1 and doubles until a bracket is
/// found; then the bracket is halved.
fn line_search(from: &Point, direction: &[f64], evaluate: &mut impl FnMut(Vec<f64>) -> Point) -> Option<Point> {
    let slope = dot(&from.gradient, direction);
    let (mut low, mut high, mut step) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..TRIALS {
        let mut x = from.x.clone();
        add_scaled(&mut x, step, direction);
        let trial = evaluate(x);
        let slope_there = dot(&trial.gradient, direction);
        let lower = trial.value <= from.value + DECREASE * step * slope;
        let flat =
            trial.value <= from.value + NOISE * from.value.abs() && slope_there <= (2.0 * DECREASE - 1.0) * slope;
        if !(lower || flat) {
            high = step;
        } else if slope_there < CURVATURE * slope {
            low = step;
        } else {
            return Some(trial);
        }
        step = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * step };
    }
    None
}

fn remember(memory: &mut VecDeque<Correction>, from: &Point, to: &Point, precondition: impl Fn(&[f64]) -> Vec<f64>) {
    let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let (s, y) = (difference(&to.x, &from.x), difference(&to.gradient, &from.gradient));
    if memory.len() == MEMORY {
        memory.pop_front();
    }
    // The curvature condition makes s.y positive.
    let sy = dot(&s, &y);
    let scale = sy / dot(&y, &precondition(&y));
    memory.push_back(Correction { s, y, inverse_sy: 1.0 / sy, scale });
}

/// The number of elements that one task sums. The partition is fixed, so that the number of
/// threads does not change the sum.
const PIECE: usize = 16 * 1024;
/// The number of partial sums that are computed in parallel.
const LANES: usize = 8;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    if a.len() <= PIECE {
        return dot_of_piece(a, b);
    }
    let sums: Vec<f64> = a.par_chunks(PIECE).zip(b.par_chunks(PIECE)).map(|(a, b)| dot_of_piece(a, b)).collect();
    sums.into_iter().sum()
}

fn dot_of_piece(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        (0..LANES).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.into_iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

fn add_scaled(to: &mut [f64], scale: f64, x: &[f64]) {
    let add = |(to, x): (&mut [f64], &[f64])| to.iter_mut().zip(x).for_each(|(to, x)| *to += scale * x);
    if to.len() <= PIECE {
        return add((to, x));
    }
    to.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(add);
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rosenbrock's valley is not convex, but its only minimum is at (1, 1).
    #[test]
    fn finds_the_end_of_rosenbrocks_valley() {
        let stop = Stop { iterations: 200, tolerance: 1e-9 };
        let found = minimise(vec![-1.2, 1.0], stop, <[f64]>::to_vec, |x, g| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (g[0], g[1]) = (-2.0 * a - 400.0 * x[0] * b, 200.0 * b);
            a * a + 100.0 * b * b
        });
        assert!(found.converged && found.iterations < 60, "{} iterations", found.iterations);
        assert!(found.at.iter().all(|x| (x - 1.0).abs() < 1e-8), "{:?}", found.at);
    }

    #[test]
    fn stops_where_it_is_told_to_and_says_so() {
        let bowl = |x: &[f64], g: &mut [f64]| {
            (0..x.len()).for_each(|i| g[i] = (i + 1) as f64 * x[i]);
            0.5 * dot(x, g)
        };
        let cut = minimise(vec![1.0; 50], Stop { iterations: 2, tolerance: 1e-9 }, <[f64]>::to_vec, bowl);
        assert!(!cut.converged && cut.iterations == 2);
        let there = minimise(vec![0.0; 50], Stop { iterations: 2, tolerance: 1e-9 }, <[f64]>::to_vec, bowl);
        assert!(there.converged && there.iterations == 0);
    }

    #[test]
    fn with_the_inverse_hessian_one_step_is_enough() {
        // More elements than one piece.
        let curvature = |i: usize| (1 + i % 1000) as f64;
        let inverse = |v: &[f64]| v.iter().enumerate().map(|(i, v)| v / curvature(i)).collect::<Vec<f64>>();
        let stop = Stop { iterations: 5, tolerance: 1e-9 };
        let found = minimise(vec![1.0; PIECE + 100], stop, inverse, |x, g| {
            (0..x.len()).for_each(|i| g[i] = curvature(i) * x[i]);
            0.5 * dot(x, g)
        });
        assert!(found.converged && found.iterations == 1, "{} iterations", found.iterations);
    }
}
