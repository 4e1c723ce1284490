//! Scales each row of a matrix (rows, columns) to unit length. Sums are f32 in a fixed order.

use std::ops::Range;

use super::check_len;
use super::isa::Isa;
use super::isa::isa;
use super::partition::for_each;
use super::rows::Output;
use super::rows::PIECE;
use super::rows::Span;
use super::rows::Terms;
use super::rows::row_sums;
use super::rows::spans;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// The smallest divisor: shorter rows are divided by it, as in PyTorch's `normalize`.
pub const SHORTEST: f32 = 1e-12;

/// y = x / max(|x|, [`SHORTEST`]).
pub fn forward<E: Element>(y: &mut [E], x: &[E], columns: usize) {
    let rows = rows_of("unit_rows::forward", x, columns, [("y", y.len())]);
    let y = Output::new(y);
    for_each_piece(rows, columns, |isa, rows| run(isa, Forward { y, x, columns, rows }));
}

/// With n = |x| and u = x / n: dx = (dy - u (u dy)) / n; if n is below [`SHORTEST`], dx = dy / [`SHORTEST`].
pub fn backward<E: Element>(dx: &mut [E], dy: &[E], x: &[E], columns: usize) {
    let rows = rows_of("unit_rows::backward", x, columns, [("dx", dx.len()), ("dy", dy.len())]);
    let dx = Output::new(dx);
    for_each_piece(rows, columns, |isa, rows| run(isa, Backward::<E, false> { dx, dy, x, columns, rows }));
}

/// As `backward`, but adds to dx (+=): for a weight whose rows are used at unit length.
pub fn add_backward(dx: &mut [f32], dy: &[f32], x: &[f32], columns: usize) {
    let rows = rows_of("unit_rows::add_backward", x, columns, [("dx", dx.len()), ("dy", dy.len())]);
    let dx = Output::new(dx);
    for_each_piece(rows, columns, |isa, rows| run(isa, Backward::<f32, true> { dx, dy, x, columns, rows }));
}

/// Returns the number of rows of x, after checking that all slices have the same length.
fn rows_of<E, const N: usize>(operation: &str, x: &[E], columns: usize, others: [(&str, usize); N]) -> usize {
    assert!(columns > 0, "{operation}: no columns");
    let rows = x.len() / columns;
    let describe = || format!("{operation} (rows {rows}, columns {columns})");
    check_len(&describe(), "x", x, rows * columns);
    for (name, len) in others {
        assert!(len == x.len(), "{}: `{name}` has {len} elements, expected {}", describe(), x.len());
    }
    rows
}

fn for_each_piece(rows: usize, columns: usize, body: impl Fn(Isa, Range<usize>) + Sync + Send) {
    let (isa, height) = (isa(), (PIECE / columns).max(1));
    for_each(rows.div_ceil(height), |piece| body(isa, piece * height..rows.min((piece + 1) * height)));
}

/// Returns 1 / |x|, and whether the row is at least [`SHORTEST`] long, given the sum of its squares. NaN stays NaN.
fn inverse_length(square: f32) -> (f32, bool) {
    let length = square.sqrt();
    if length < SHORTEST { (1.0 / SHORTEST, false) } else { (1.0 / length, true) }
}

struct Forward<'a, E> {
    y: Output<E>,
    x: &'a [E],
    columns: usize,
    rows: Range<usize>,
}

impl<E: Element> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let columns = self.columns;
        for row in self.rows {
            let x = self.x[row * columns..][..columns].as_ptr();
            // SAFETY: the row has `columns` elements, and no other task writes to it.
            unsafe {
                let [square] = row_sums::<V, 1, _>(&Square { x }, columns);
                let (y, inverse) = (self.y.at(row * columns), V::splat(inverse_length(square).0));
                for span in spans::<V>(0..columns) {
                    span.store(y, span.load::<E, V>(x).mul(inverse));
                }
            }
        }
    }
}

struct Backward<'a, E, const ADD: bool> {
    dx: Output<E>,
    dy: &'a [E],
    x: &'a [E],
    columns: usize,
    rows: Range<usize>,
}

impl<E: Element, const ADD: bool> Kernel for Backward<'_, E, ADD> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let columns = self.columns;
        for row in self.rows {
            let [x, dy] = [self.x, self.dy].map(|slice| slice[row * columns..][..columns].as_ptr());
            // SAFETY: the rows have `columns` elements, and no other task writes to those of dx.
            unsafe {
                let [square, product] = row_sums::<V, 2, _>(&Products { x, dy }, columns);
                let (inverse, long) = inverse_length(square);
                let along = V::splat(if long { product * inverse } else { 0.0 });
                let (dx, inverse) = (self.dx.at(row * columns), V::splat(inverse));
                for span in spans::<V>(0..columns) {
                    let unit = span.load::<E, V>(x).mul(inverse);
                    let gradient = span.load::<E, V>(dy).sub(unit.mul(along)).mul(inverse);
                    span.store(dx, if ADD { gradient.add(span.load(dx)) } else { gradient });
                }
            }
        }
    }
}

/// x².
struct Square<E> {
    x: *const E,
}

/// x² and x dy.
struct Products<E> {
    x: *const E,
    dy: *const E,
}

// SAFETY (all blocks): the span lies in the row.
impl<E: Element, V: Vector> Terms<V, 1> for Square<E> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe {
            let x = span.load::<E, V>(self.x);
            [x.mul(x)]
        }
    }
}

impl<E: Element, V: Vector> Terms<V, 2> for Products<E> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 2] {
        unsafe {
            let (x, dy) = (span.load::<E, V>(self.x), span.load::<E, V>(self.dy));
            [x.mul(x), x.mul(dy)]
        }
    }
}
