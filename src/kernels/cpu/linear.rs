//! The linear layer y = x wᵀ + bias: x (N, I), w (O, I), bias (O), y (N, O), with N `rows`, I `inputs`, O `outputs`;
//! w and bias are f32. Contract: y and dx are written (=), dw and db are added to (+=).

use super::check_len;
use super::vector::Element;

/// y = x wᵀ + bias.
pub fn forward<E: Element>(
    y: &mut [E],
    x: &[E],
    w: &[f32],
    bias: Option<&[f32]>,
    rows: usize,
    inputs: usize,
    outputs: usize,
) {
    let describe = || sizes("linear::forward", rows, inputs, outputs);
    check_len(&describe(), "x", x, rows * inputs);
    check_len(&describe(), "w", w, outputs * inputs);
    check_len(&describe(), "y", y, rows * outputs);
    for r in 0..rows {
        for o in 0..outputs {
            let sum: f32 =
                (0..inputs).map(|i| x[r * inputs + i].to_f32() * E::from_f32(w[o * inputs + i]).to_f32()).sum();
            y[r * outputs + o] = E::from_f32(sum + bias.map_or(0.0, |bias| bias[o]));
        }
    }
}

/// dx = dy w, added to `onto` where it is given.
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
    for r in 0..rows {
        for i in 0..inputs {
            let at = r * inputs + i;
            let sum: f32 =
                (0..outputs).map(|o| dy[r * outputs + o].to_f32() * E::from_f32(w[o * inputs + i]).to_f32()).sum();
            dx[at] = E::from_f32(sum + onto.map_or(0.0, |onto| onto[at].to_f32()));
        }
    }
}

/// dw += dyᵀ x.
pub fn weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], rows: usize, inputs: usize, outputs: usize) {
    let describe = || sizes("linear::weight_gradient", rows, inputs, outputs);
    check_len(&describe(), "x", x, rows * inputs);
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "dw", dw, outputs * inputs);
    for r in 0..rows {
        for o in 0..outputs {
            for i in 0..inputs {
                dw[o * inputs + i] += dy[r * outputs + o].to_f32() * x[r * inputs + i].to_f32();
            }
        }
    }
}

/// db += the sum of the rows of dy.
pub fn bias_gradient<E: Element>(db: &mut [f32], dy: &[E], rows: usize, outputs: usize) {
    let describe = || format!("linear::bias_gradient (rows {rows}, outputs {outputs})");
    check_len(&describe(), "dy", dy, rows * outputs);
    check_len(&describe(), "db", db, outputs);
    let mut sums = vec![0.0f64; outputs];
    for row in dy.chunks_exact(outputs.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &dy)| *sum += f64::from(dy.to_f32()));
    }
    db.iter_mut().zip(&sums).for_each(|(db, &sum)| *db += sum as f32);
}

fn sizes(operation: &str, rows: usize, inputs: usize, outputs: usize) -> String {
    format!("{operation} (rows {rows}, inputs {inputs}, outputs {outputs})")
}
