//! Softmax over the rows of a matrix (rows, columns). Results are written (=).

use std::ops::Range;

use super::check_len;
use super::functions::exp;
use super::isa::isa;
use super::partition::for_each;
use super::partition::with_scratch;
use super::rows::Output;
use super::rows::PIECE;
use super::rows::Span;
use super::rows::Terms;
use super::rows::row_max;
use super::rows::row_sums;
use super::rows::spans;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// y = softmax(scale x) of each row. A row with a NaN is NaN.
pub fn softmax_rows<E: Element>(y: &mut [E], x: &[E], columns: usize, scale: f32) {
    let rows = check("softmax::softmax_rows", y, [("x", x)], columns);
    let (y, isa, height) = (Output::new(y), isa(), (PIECE / columns).max(1));
    for_each(rows.div_ceil(height), |piece| {
        let rows = piece * height..rows.min((piece + 1) * height);
        with_scratch(columns, |powers| run(isa, Forward { y, x, powers, scale, rows }));
    });
}

/// dx = scale y (dy - sum(dy y)), the sum over the row, with y the output of `softmax_rows`.
pub fn softmax_rows_backward<E: Element>(dx: &mut [E], dy: &[E], y: &[E], columns: usize, scale: f32) {
    let rows = check("softmax::softmax_rows_backward", dx, [("dy", dy), ("y", y)], columns);
    let (dx, isa, height) = (Output::new(dx), isa(), (PIECE / columns).max(1));
    for_each(rows.div_ceil(height), |piece| {
        let rows = piece * height..rows.min((piece + 1) * height);
        run(isa, Backward { dx, dy, y, columns, scale, rows });
    });
}

/// Panics unless the lengths fit; returns the number of rows.
fn check<E, const N: usize>(operation: &str, output: &[E], inputs: [(&str, &[E]); N], columns: usize) -> usize {
    let len = output.len();
    assert!(columns > 0 && len.is_multiple_of(columns), "{operation}: {len} elements in rows of {columns}");
    for (name, input) in inputs {
        check_len(operation, name, input, len);
    }
    len / columns
}

struct Forward<'a, E> {
    y: Output<E>,
    x: &'a [E],
    /// Of one row: e^(scale x - maximum).
    powers: &'a mut [f32],
    scale: f32,
    rows: Range<usize>,
}

impl<E: Element> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let columns = self.powers.len();
        let powers = self.powers.as_mut_ptr();
        for row in self.rows {
            // SAFETY: rows have `columns` elements, and no other task writes to this one.
            unsafe {
                let x = self.x.as_ptr().add(row * columns);
                let scale = V::splat(self.scale);
                let largest = V::splat(row_max::<V, _>(&Scaled { x, scale }, columns));
                let [sum] = row_sums::<V, 1, _>(&Powers { x, scale, largest, powers }, columns);
                let (y, share) = (self.y.at(row * columns), V::splat(1.0 / sum));
                for span in spans::<V>(0..columns) {
                    span.store(y, span.load::<f32, V>(powers).mul(share));
                }
            }
        }
    }
}

/// scale x.
struct Scaled<E, V> {
    x: *const E,
    scale: V,
}

/// e^(scale x - largest), which is also kept.
struct Powers<E, V> {
    x: *const E,
    scale: V,
    largest: V,
    powers: *mut f32,
}

// SAFETY of all blocks: the span lies in the row.
impl<E: Element, V: Vector> Terms<V, 1> for Scaled<E, V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe { [span.load::<E, V>(self.x).mul(self.scale)] }
    }
}

impl<E: Element, V: Vector> Terms<V, 1> for Powers<E, V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe {
            let power = exp(span.load::<E, V>(self.x).mul(self.scale).sub(self.largest));
            span.store(self.powers, power);
            [power]
        }
    }
}

struct Backward<'a, E> {
    dx: Output<E>,
    dy: &'a [E],
    y: &'a [E],
    columns: usize,
    scale: f32,
    rows: Range<usize>,
}

impl<E: Element> Kernel for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for row in self.rows {
            let at = row * self.columns;
            // SAFETY: rows have `columns` elements, and no other task writes to this one.
            unsafe {
                let terms = Product { a: self.dy.as_ptr().add(at), b: self.y.as_ptr().add(at) };
                let [sum] = row_sums::<V, 1, _>(&terms, self.columns);
                let (sum, scale) = (V::splat(sum), V::splat(self.scale));
                for span in spans::<V>(0..self.columns) {
                    let dy = span.load::<E, V>(terms.a).sub(sum);
                    span.store(self.dx.at(at), dy.mul(span.load(terms.b)).mul(scale));
                }
            }
        }
    }
}

/// a b.
struct Product<E> {
    a: *const E,
    b: *const E,
}

impl<E: Element, V: Vector> Terms<V, 1> for Product<E> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe { [span.load::<E, V>(self.a).mul(span.load(self.b))] }
    }
}
