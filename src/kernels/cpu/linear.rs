//! The linear layer y = x wᵀ + bias: x (N, I), w (O, I), bias (O), y (N, O), with N `rows`, I `inputs`, O `outputs`.
//! Contract: y and dx are written (=), dw and db are added to (+=).

use rayon::prelude::*;

use super::check_len;
use super::matmul;
use super::partition::PIECE;

/// y = x wᵀ + bias.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], bias: Option<&[f32]>, rows: usize, inputs: usize, outputs: usize) {
    let describe = || sizes("linear::forward", rows, inputs, outputs);
    check_len(&describe(), "x", x, rows * inputs);
    check_len(&describe(), "w", w, outputs * inputs);
    check_len(&describe(), "y", y, rows * outputs);
    matmul::nt(y, x, w, rows, inputs, outputs);
    if let Some(bias) = bias {
        check_len(&describe(), "bias", bias, outputs);
        let outputs = outputs.max(1);
        y.par_chunks_mut(PIECE.next_multiple_of(outputs)).for_each(|rows| {
            rows.chunks_exact_mut(outputs).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, &b)| *y += b));
        });
    }
}

/// dx = dy w.
pub fn input_gradient(dx: &mut [f32], dy: &[f32], w: &[f32], rows: usize, inputs: usize, outputs: usize) {
    let describe = || sizes("linear::input_gradient", rows, inputs, outputs);
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "w", w, outputs * inputs);
    check_len(&describe(), "dx", dx, rows * inputs);
    matmul::nn(dx, dy, w, rows, outputs, inputs);
}

/// dw += dyᵀ x.
pub fn weight_gradient(dw: &mut [f32], x: &[f32], dy: &[f32], rows: usize, inputs: usize, outputs: usize) {
    let describe = || sizes("linear::weight_gradient", rows, inputs, outputs);
    check_len(&describe(), "x", x, rows * inputs);
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "dw", dw, outputs * inputs);
    matmul::accumulate_tn(dw, dy, x, outputs, rows, inputs);
}

/// db += the sum of the rows of dy.
pub fn bias_gradient(db: &mut [f32], dy: &[f32], rows: usize, outputs: usize) {
    let describe = || format!("linear::bias_gradient (rows {rows}, outputs {outputs})");
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "db", db, outputs);
    let mut sums = vec![0.0f64; outputs];
    for row in dy.chunks_exact(outputs.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &dy)| *sum += f64::from(dy));
    }
    db.iter_mut().zip(&sums).for_each(|(db, &sum)| *db += sum as f32);
}

fn sizes(operation: &str, rows: usize, inputs: usize, outputs: usize) -> String {
    format!("{operation} (rows {rows}, inputs {inputs}, outputs {outputs})")
}
