//! Element by element: the rectifier and sums. All slices of a call have one length; results are written (=), but for
//! `add_assign`.

use rayon::prelude::*;

use super::check_len;
use super::partition::PIECE;

/// y = max(x, 0); NaN stays NaN.
pub fn relu(y: &mut [f32], x: &[f32]) {
    map(y, x, "elementwise::relu", |x| if x <= 0.0 { 0.0 } else { x });
}

/// dx = dy where y > 0, else 0, with y the output of `relu`.
pub fn relu_backward(dx: &mut [f32], dy: &[f32], y: &[f32]) {
    map2(dx, dy, y, "elementwise::relu_backward", |dy, y| if y > 0.0 { dy } else { 0.0 });
}

/// y = a + b.
pub fn add(y: &mut [f32], a: &[f32], b: &[f32]) {
    map2(y, a, b, "elementwise::add", |a, b| a + b);
}

/// y += x.
pub fn add_assign(y: &mut [f32], x: &[f32]) {
    check_len("elementwise::add_assign", "x", x, y.len());
    let piece = |(y, x): (&mut [f32], &[f32])| y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
    y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(piece);
}

fn map(y: &mut [f32], x: &[f32], operation: &str, f: impl Fn(f32) -> f32 + Sync) {
    check_len(operation, "x", x, y.len());
    let piece = |(y, x): (&mut [f32], &[f32])| y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x));
    y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(piece);
}

fn map2(y: &mut [f32], a: &[f32], b: &[f32], operation: &str, f: impl Fn(f32, f32) -> f32 + Sync) {
    check_len(operation, "first", a, y.len());
    check_len(operation, "second", b, y.len());
    let piece = |((y, a), b): ((&mut [f32], &[f32]), &[f32])| {
        y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (&a, &b))| *y = f(a, b));
    };
    y.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE)).zip(b.par_chunks(PIECE)).for_each(piece);
}
