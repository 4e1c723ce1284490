//! Sums of squares over all products of two sets of columns, which VICReg and Barlow Twins penalise. Where there are
//! many columns, the products themselves are not computed.

use crate::kernels::cpu::matmul;
use crate::kernels::cpu::with_scratch;

/// Writes b b' a, with a and b (rows, width). It gives both |a' b|² = sum(a ∘ b b' a) and half
/// its gradient with respect to a.
///
/// The product is computed from the side with the smaller square matrix: with 256 rows of width 2,048 this is an eighth
/// of the work of the paper's a' b.
pub fn through(through: &mut [f32], b: &[f32], a: &[f32], width: usize) {
    let rows = a.len() / width;
    let smaller = rows.min(width);
    with_scratch(smaller * smaller, |products| {
        if rows <= width {
            matmul::nt(products, b, b, rows, width, rows);
            matmul::nn(through, products, a, rows, rows, width);
        } else {
            matmul::tn(products, b, a, width, rows, width);
            matmul::nn(through, b, products, rows, width, width);
        }
    });
}
