//! Row-major matrix products in f32. c (m, n) is written (=).

use super::check_len;
use super::linear;
use super::linear::Added;

/// c = a b, with a (m, k) and b (k, n).
pub fn nn(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    check("matmul::nn", c, a, b, (m, k, n));
    linear::input_gradient(c, a, b, None, m, n, k);
}

/// c = a bᵀ, with a (m, k) and b (n, k).
pub fn nt(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    check("matmul::nt", c, a, b, (m, k, n));
    linear::forward(c, a, b, Added { onto: None, bias: None }, m, k, n);
}

/// c = aᵀ b, with a (k, m) and b (k, n).
pub fn tn(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    check("matmul::tn", c, a, b, (m, k, n));
    c.fill(0.0);
    linear::weight_gradient(c, b, a, k, n, m);
}

fn check(operation: &str, c: &[f32], a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) {
    let describe = || format!("{operation} (m {m}, k {k}, n {n})");
    check_len(&describe(), "a", a, m * k);
    check_len(&describe(), "b", b, k * n);
    check_len(&describe(), "c", c, m * n);
}
