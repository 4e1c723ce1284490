//! The linear layer y = x wᵀ + bias: x (N, I), w (O, I), bias (O), y (N, O), with N `rows`, I `inputs`, O `outputs`.
//! Contract: y and dx are written (=), dw and db are added to (+=).

use super::check_len;
use super::matmul;

/// y = x wᵀ + bias.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], bias: Option<&[f32]>, rows: usize, inputs: usize, outputs: usize) {
    matmul::nt(y, x, w, rows, inputs, outputs);
    if let Some(bias) = bias {
        check_len("linear::forward", "bias", bias, outputs);
        for row in y.chunks_exact_mut(outputs.max(1)) {
            row.iter_mut().zip(bias).for_each(|(y, &b)| *y += b);
        }
    }
}

/// dx = dy w.
pub fn input_gradient(dx: &mut [f32], dy: &[f32], w: &[f32], rows: usize, inputs: usize, outputs: usize) {
    matmul::nn(dx, dy, w, rows, outputs, inputs);
}

/// dw += dyᵀ x.
pub fn weight_gradient(dw: &mut [f32], x: &[f32], dy: &[f32], rows: usize, inputs: usize, outputs: usize) {
    let mut sums = vec![0.0; outputs * inputs];
    matmul::tn(&mut sums, dy, x, outputs, rows, inputs);
    check_len("linear::weight_gradient", "dw", dw, outputs * inputs);
    dw.iter_mut().zip(&sums).for_each(|(d, &s)| *d += s);
}

/// db += the sum of the rows of dy.
pub fn bias_gradient(db: &mut [f32], dy: &[f32], rows: usize, outputs: usize) {
    let describe = || format!("linear::bias_gradient (rows {rows}, outputs {outputs})");
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "db", db, outputs);
    for (o, db) in db.iter_mut().enumerate() {
        *db += (0..rows).map(|row| f64::from(dy[row * outputs + o])).sum::<f64>() as f32;
    }
}
