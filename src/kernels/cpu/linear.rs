//! The linear layer y = x wᵀ + bias: x (N, I), w (O, I), bias (O), y (N, O), with N `rows`, I `inputs`, O `outputs`;
//! w and bias are f32. Contract: y and dx are written (=), dw and db are added to (+=).

use super::check_len;
use super::elementwise;
use super::isa;
use super::product;
use super::product::Accumulated;
use super::product::Gathered;
use super::product::NoMaker;
use super::product::Rows;
use super::product::Terms;
use super::product::Weights;
use super::vector::Element;

pub use super::product::Added;

/// y = x wᵀ + `added`: a bias, and a matrix of the same size as y.
pub fn forward<E: Element>(
    y: &mut [E],
    x: &[E],
    w: &[f32],
    added: Added<E>,
    rows: usize,
    inputs: usize,
    outputs: usize,
) {
    let describe = || sizes("linear::forward", rows, inputs, outputs);
    check_len(&describe(), "x", x, rows * inputs);
    check_len(&describe(), "w", w, outputs * inputs);
    check_len(&describe(), "y", y, rows * outputs);
    let sizes = Gathered { images: rows, positions: 1, columns: outputs, taps: 1, inner: inputs };
    product::gather(isa(), y, added, Rows::Maps(x), Weights::Transposed(w), &sizes, product::one_source);
}

/// dx = dy w, added to `onto` if it is given.
pub fn input_gradient<E: Element>(
    dx: &mut [E],
    dy: &[E],
    w: &[f32],
    onto: Option<&[E]>,
    rows: usize,
    inputs: usize,
    outputs: usize,
) {
    let describe = || sizes("linear::input_gradient", rows, inputs, outputs);
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "w", w, outputs * inputs);
    check_len(&describe(), "dx", dx, rows * inputs);
    let sizes = Gathered { images: rows, positions: 1, columns: inputs, taps: 1, inner: outputs };
    let added = Added { onto, bias: None };
    product::gather(isa(), dx, added, Rows::Maps(dy), Weights::Straight(w), &sizes, product::one_source);
}

/// dw += dyᵀ x.
pub fn weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], rows: usize, inputs: usize, outputs: usize) {
    let describe = || sizes("linear::weight_gradient", rows, inputs, outputs);
    check_len(&describe(), "x", x, rows * inputs);
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "dw", dw, outputs * inputs);
    let sizes = Accumulated { rows: outputs, taps: 1, columns: inputs, images: rows, positions: 1, line: 1 };
    product::accumulate(isa(), dw, dy, &Terms::<E, NoMaker<E>>::Maps(x), &sizes, |_, position| Some(position));
}

/// db += the sum of the rows of dy.
pub fn bias_gradient<E: Element>(db: &mut [f32], dy: &[E], rows: usize, outputs: usize) {
    let describe = || format!("linear::bias_gradient (rows {rows}, outputs {outputs})");
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "db", db, outputs);
    elementwise::add_column_sums(db, dy, rows, outputs);
}

fn sizes(operation: &str, rows: usize, inputs: usize, outputs: usize) -> String {
    format!("{operation} (rows {rows}, inputs {inputs}, outputs {outputs})")
}
