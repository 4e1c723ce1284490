//! Softmax over the rows of a matrix, on the calling thread. Rows are short; a caller with many rows divides them
//! among tasks. In each slice, the `rows` rows are equally spaced and may be longer than `columns`. Results are
//! written (=).

use super::functions::exp;
use super::isa::Isa;
use super::rows::Span;
use super::rows::Terms;
use super::rows::row_max;
use super::rows::row_sums;
use super::rows::spans;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// y = softmax(scale x) of the first `columns` of each row, and zero in the others. A row that contains NaN becomes
/// NaN. x is overwritten with e^(scale x - maximum).
pub fn softmax_rows<E: Element>(isa: Isa, y: &mut [E], x: &mut [f32], (rows, columns): (usize, usize), scale: f32) {
    let strides = strides("softmax::softmax_rows", [y.len(), x.len()], rows, columns);
    run(isa, Forward { y, x, scale, rows, columns, strides });
}

/// dx = scale y (dy - sum(dy y)) in the first `columns` of each row, with the sum over those columns, and zero in the
/// others; y is the output of `softmax_rows`.
pub fn softmax_rows_backward<E: Element>(
    isa: Isa,
    dx: &mut [E],
    dy: &[f32],
    y: &[E],
    (rows, columns): (usize, usize),
    scale: f32,
) {
    let lengths = [dx.len(), dy.len(), y.len()];
    let strides = strides("softmax::softmax_rows_backward", lengths, rows, columns);
    run(isa, Backward { dx, dy, y, scale, rows, columns, strides });
}

/// Returns the row stride of each slice, in elements.
fn strides<const N: usize>(operation: &str, lengths: [usize; N], rows: usize, columns: usize) -> [usize; N] {
    let fits = |&len: &usize| rows > 0 && columns > 0 && len.is_multiple_of(rows) && len / rows >= columns;
    assert!(lengths.iter().all(fits), "{operation}: {lengths:?} elements in {rows} rows of {columns}");
    lengths.map(|len| len / rows)
}

struct Forward<'a, E> {
    y: &'a mut [E],
    x: &'a mut [f32],
    scale: f32,
    rows: usize,
    columns: usize,
    strides: [usize; 2],
}

impl<E: Element> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { columns, strides: [of_y, of_x], .. } = self;
        for row in 0..self.rows {
            let y = &mut self.y[row * of_y..][..of_y];
            y[columns..].fill(E::default());
            let x = self.x[row * of_x..][..columns].as_mut_ptr();
            // SAFETY: both rows have `columns` elements.
            unsafe {
                let scale = V::splat(self.scale);
                let largest = V::splat(row_max::<V, _>(&Scaled { x, scale }, columns));
                let [sum] = row_sums::<V, 1, _>(&Powers { x, scale, largest }, columns);
                let share = V::splat(1.0 / sum);
                for span in spans::<V>(0..columns) {
                    span.store(y.as_mut_ptr(), span.load::<f32, V>(x).mul(share));
                }
            }
        }
    }
}

/// scale x.
struct Scaled<V> {
    x: *const f32,
    scale: V,
}

/// e^(scale x - largest), which overwrites x.
struct Powers<V> {
    x: *mut f32,
    scale: V,
    largest: V,
}

// SAFETY (all blocks): the span lies in the row.
impl<V: Vector> Terms<V, 1> for Scaled<V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe { [span.load::<f32, V>(self.x).mul(self.scale)] }
    }
}

impl<V: Vector> Terms<V, 1> for Powers<V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe {
            let power = exp(span.load::<f32, V>(self.x).mul(self.scale).sub(self.largest));
            span.store(self.x, power);
            [power]
        }
    }
}

struct Backward<'a, E> {
    dx: &'a mut [E],
    dy: &'a [f32],
    y: &'a [E],
    scale: f32,
    rows: usize,
    columns: usize,
    strides: [usize; 3],
}

impl<E: Element> Kernel for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { columns, strides: [of_dx, of_dy, of_y], .. } = self;
        for row in 0..self.rows {
            let dx = &mut self.dx[row * of_dx..][..of_dx];
            dx[columns..].fill(E::default());
            let a = self.dy[row * of_dy..][..columns].as_ptr();
            let b = self.y[row * of_y..][..columns].as_ptr();
            // SAFETY: all rows have `columns` elements.
            unsafe {
                let [sum] = row_sums::<V, 1, _>(&Product { a, b }, columns);
                let (sum, scale) = (V::splat(sum), V::splat(self.scale));
                for span in spans::<V>(0..columns) {
                    let dy = span.load::<f32, V>(a).sub(sum);
                    span.store(dx.as_mut_ptr(), dy.mul(span.load(b)).mul(scale));
                }
            }
        }
    }
}

/// a b.
struct Product<E> {
    a: *const f32,
    b: *const E,
}

impl<E: Element, V: Vector> Terms<V, 1> for Product<E> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        // SAFETY: guaranteed by the caller.
        unsafe { [span.load::<f32, V>(self.a).mul(span.load(self.b))] }
    }
}
