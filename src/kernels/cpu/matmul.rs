//! Row-major matrix products. c (m, n) is written (=).

use std::ops::Range;

use super::check_len;
use super::isa;
use super::product;
use super::product::Accumulated;
use super::product::Gathered;
use super::product::Span;
use super::tile::Pair;
use super::tile::Segment;

/// c = a b, with a (m, k) and b (k, n).
pub fn nn(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    check("matmul::nn", c, a, b, (m, k, n));
    let pack = |columns: Range<usize>, width: usize, packed: &mut [f32]| {
        product::pack_rows(packed, width, |row| &b[row * n..][columns.clone()]);
    };
    gather(c, a, (m, k, n), pack);
}

/// c = a bᵀ, with a (m, k) and b (n, k).
pub fn nt(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    check("matmul::nt", c, a, b, (m, k, n));
    let pack = |columns: Range<usize>, width: usize, packed: &mut [f32]| {
        product::pack_columns(packed, width, &b[columns.start * k..columns.end * k], k);
    };
    gather(c, a, (m, k, n), pack);
}

/// c = aᵀ b, with a (k, m) and b (k, n).
pub fn tn(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    check("matmul::tn", c, a, b, (m, k, n));
    c.fill(0.0);
    accumulate_tn(c, a, b, m, k, n);
}

/// c += aᵀ b, with slices that are already checked.
pub(super) fn accumulate_tn(c: &mut [f32], a: &[f32], b: &[f32], m: usize, k: usize, n: usize) {
    let sizes = Accumulated { rows: m, taps: 1, columns: n, lines: k, line_len: 1 };
    let spans = |_: usize, lines: Range<usize>, list: &mut Vec<Span>| {
        list.clear();
        list.push(Span { columns: 0..n, pairs: lines.map(|l| Pair { a: l * m, b: l * n }).collect() });
    };
    product::accumulate(isa(), c, a, b, &sizes, spans);
}

fn gather(
    c: &mut [f32],
    a: &[f32],
    (m, k, n): (usize, usize, usize),
    pack: impl Fn(Range<usize>, usize, &mut [f32]) + Sync,
) {
    let sizes = Gathered { images: m, positions: 1, columns: n, image_len: k, depth: k };
    let segments = |_: usize, list: &mut Vec<Segment>| list.push(Segment { a: 0, b: 0, len: k });
    product::gather(isa(), c, a, &sizes, pack, segments);
}

fn check(operation: &str, c: &[f32], a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) {
    let describe = || format!("{operation} (m {m}, k {k}, n {n})");
    check_len(&describe(), "a", a, m * k);
    check_len(&describe(), "b", b, k * n);
    check_len(&describe(), "c", c, m * n);
}
