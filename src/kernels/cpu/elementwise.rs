//! Element-wise operations: ReLU, GELU and the sum of two slices. All slices of a call have the same length, and
//! results are written (=). `add_column_sums` is different: it adds column sums (+=).

use std::ops::Range;

use super::check_len;
use super::functions::normal_tail;
use super::rows::Output;
use super::rows::Rows;
use super::rows::Span;
use super::rows::Tiled;
use super::rows::column_sums;
use super::rows::sweep_vector;
use super::vector::Element;
use super::vector::Vector;

/// y = max(x, 0); NaN stays NaN.
pub fn relu<E: Element>(y: &mut [E], x: &[E]) {
    map("elementwise::relu", Relu, y, [("x", x)]);
}

/// dx = dy where y > 0, else 0, with y the output of `relu`.
pub fn relu_backward<E: Element>(dx: &mut [E], dy: &[E], y: &[E]) {
    map("elementwise::relu_backward", ReluBackward, dx, [("dy", dy), ("y", y)]);
}

/// y = a + b.
pub fn add<E: Element>(y: &mut [E], a: &[E], b: &[E]) {
    map("elementwise::add", Add, y, [("a", a), ("b", b)]);
}

/// y = x Φ(x), with Φ the normal distribution function (Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>).
pub fn gelu<E: Element>(y: &mut [E], x: &[E]) {
    map("elementwise::gelu", Gelu, y, [("x", x)]);
}

/// dx = dy (Φ(x) + x φ(x)), with x the input of `gelu`.
pub fn gelu_backward<E: Element>(dx: &mut [E], dy: &[E], x: &[E]) {
    map("elementwise::gelu_backward", GeluBackward, dx, [("dy", dy), ("x", x)]);
}

/// sums (columns) += the sum of the rows of x (rows, columns).
pub fn add_column_sums<E: Element>(sums: &mut [f32], x: &[E], rows: usize, columns: usize) {
    let describe = || format!("elementwise::add_column_sums (rows {rows}, columns {columns})");
    check_len(&describe(), "x", x, rows * columns);
    check_len(&describe(), "sums", sums, columns);
    // SAFETY: x is (rows, columns).
    let [totals] = unsafe { column_sums(Rows { x, columns }, rows, columns, false) };
    sums.iter_mut().zip(&totals).for_each(|(sum, &total)| *sum += total as f32);
}

/// A lane-wise function of N inputs.
trait Function<const N: usize>: Copy + Sync {
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn of<V: Vector>(&self, inputs: [V; N]) -> V;
}

#[derive(Clone, Copy)]
struct Relu;
#[derive(Clone, Copy)]
struct ReluBackward;
#[derive(Clone, Copy)]
struct Add;
#[derive(Clone, Copy)]
struct Gelu;
#[derive(Clone, Copy)]
struct GeluBackward;

// SAFETY (all blocks): the trait's contract.
impl Function<1> for Relu {
    #[inline(always)]
    unsafe fn of<V: Vector>(&self, [x]: [V; 1]) -> V {
        unsafe { V::splat(0.0).max(x) }
    }
}

impl Function<2> for ReluBackward {
    #[inline(always)]
    unsafe fn of<V: Vector>(&self, [dy, y]: [V; 2]) -> V {
        unsafe { dy.where_positive(y) }
    }
}

impl Function<2> for Add {
    #[inline(always)]
    unsafe fn of<V: Vector>(&self, [a, b]: [V; 2]) -> V {
        unsafe { a.add(b) }
    }
}

impl Function<1> for Gelu {
    /// x Φ(x) = max(x, 0) - |x| Q(|x|), with Q the tail probability. In this form the small values far below zero
    /// keep their precision.
    #[inline(always)]
    unsafe fn of<V: Vector>(&self, [x]: [V; 1]) -> V {
        unsafe {
            let zero = V::splat(0.0);
            let size = zero.sub(x).max(x);
            let (tail, _) = normal_tail(size);
            zero.max(x).sub(size.mul(tail))
        }
    }
}

impl Function<2> for GeluBackward {
    #[inline(always)]
    unsafe fn of<V: Vector>(&self, [dy, x]: [V; 2]) -> V {
        unsafe {
            let (tail, density) = normal_tail(V::splat(0.0).sub(x).max(x));
            let probability = tail.add(V::splat(1.0).sub(tail).sub(tail).where_positive(x));
            dy.mul(probability.add_product(x, density))
        }
    }
}

fn map<E: Element, const N: usize, F: Function<N>>(
    operation: &str,
    function: F,
    y: &mut [E],
    inputs: [(&str, &[E]); N],
) {
    let len = y.len();
    for (name, input) in inputs {
        check_len(operation, name, input, len);
    }
    let work = Map { function, inputs: inputs.map(|(_, input)| input), y: Output::new(y) };
    // SAFETY: all slices have `len` elements, and y is borrowed.
    unsafe { sweep_vector(work, len) };
}

#[derive(Clone, Copy)]
struct Map<'a, E, F, const N: usize> {
    function: F,
    inputs: [&'a [E]; N],
    y: Output<E>,
}

impl<E: Element, F: Function<N>, const N: usize> Tiled for Map<'_, E, F, N> {
    const HEIGHT: usize = 1;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, _row: Range<usize>, span: Span) {
        // SAFETY: the span lies in the slices.
        unsafe {
            let mut inputs = [V::splat(0.0); N];
            for (index, input) in self.inputs.iter().enumerate() {
                inputs[index] = span.load(input.as_ptr());
            }
            span.store(self.y.at(0), self.function.of(inputs));
        }
    }
}
