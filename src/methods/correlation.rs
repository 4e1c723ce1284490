//! Sums of squares over all products of two sets of columns, without the products where there are many columns: what
//! VICReg and Barlow Twins penalise.

use crate::kernels::cpu::matmul;

/// b b' a, with a and b (rows, width). It gives both |a' b|² = sum(a ∘ b b' a) and half its gradient with respect to a.
///
/// Multiplied from the side that makes the smaller square: at 256 rows of width 2,048 this is an eighth of the work of
/// the paper's a' b.
pub fn through(b: &[f32], a: &[f32], width: usize) -> Vec<f32> {
    let rows = a.len() / width;
    let mut through = vec![0.0; a.len()];
    if rows <= width {
        let mut gram = vec![0.0; rows * rows];
        matmul::nt(&mut gram, b, b, rows, width, rows);
        matmul::nn(&mut through, &gram, a, rows, rows, width);
    } else {
        let mut products = vec![0.0; width * width];
        matmul::tn(&mut products, b, a, width, rows, width);
        matmul::nn(&mut through, b, &products, rows, width, width);
    }
    through
}
