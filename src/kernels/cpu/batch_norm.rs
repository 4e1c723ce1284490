//! Batch normalisation over rows: x, y, dx, dy (rows, channels) with rows = N H W; the rest (channels).
//! Contract: dgamma and dbeta are added to (+=), the rest is written (=).
//!
//! Rows are cut into blocks of a size that the number of channels fixes. A block is summed in f32 while it lies in the
//! cache; the blocks' results are joined in f64, in order.

use rayon::prelude::*;

use super::check_len;
use super::isa::with_wide_vectors;

/// Floats of one block: 128 KiB, so that a second pass over a block does not go to memory.
const BLOCK: usize = 32 * 1024;

/// mean and var (biased) of each channel.
///
/// Each block takes two passes, the first relative to the block's first row, so that a large common offset costs no
/// digits. Blocks are joined by Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm".
pub fn statistics(mean: &mut [f32], var: &mut [f32], x: &[f32], rows: usize, channels: usize) {
    let describe = || sizes("batch_norm::statistics", rows, channels);
    check_len(&describe(), "x", x, rows * channels);
    check_len(&describe(), "mean", mean, channels);
    check_len(&describe(), "var", var, channels);
    assert!(rows > 0, "{}: no rows", describe());
    let block = block_len(channels);
    let mut moments = vec![0.0f32; 2 * channels * x.len().div_ceil(block)];
    moments.par_chunks_mut(2 * channels).zip(x.par_chunks(block)).for_each(|(moments, x)| {
        let (mean, square) = moments.split_at_mut(channels);
        with_wide_vectors(|| block_moments(mean, square, x));
    });
    join_moments(mean, var, &moments, rows, block / channels);
}

/// y = gamma (x - mean) inv_std + beta, in training (with the batch's statistics) and in evaluation (with the running ones).
#[allow(clippy::too_many_arguments)]
pub fn normalize(
    y: &mut [f32],
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    gamma: &[f32],
    beta: &[f32],
    rows: usize,
    channels: usize,
) {
    let describe = || sizes("batch_norm::normalize", rows, channels);
    check_len(&describe(), "y", y, rows * channels);
    check_len(&describe(), "x", x, rows * channels);
    for (name, slice) in [("mean", mean), ("inv_std", inv_std), ("gamma", gamma), ("beta", beta)] {
        check_len(&describe(), name, slice, channels);
    }
    let scale: Vec<f32> = gamma.iter().zip(inv_std).map(|(g, s)| g * s).collect();
    let block = block_len(channels);
    y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
        with_wide_vectors(|| {
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                for ((y, x), (mean, (scale, beta))) in y.iter_mut().zip(x).zip(mean.iter().zip(scale.iter().zip(beta)))
                {
                    *y = (x - mean) * scale + beta;
                }
            }
        });
    });
}

/// The gradients in training, where mean and var depend on x:
/// dbeta += sum dy, dgamma += sum dy x̂, dx = gamma inv_std (dy - mean(dy) - x̂ mean(dy x̂)) with x̂ = (x - mean) inv_std.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    gamma: &[f32],
    rows: usize,
    channels: usize,
) {
    let describe = || sizes("batch_norm::backward", rows, channels);
    check_len(&describe(), "dx", dx, rows * channels);
    check_len(&describe(), "dy", dy, rows * channels);
    check_len(&describe(), "x", x, rows * channels);
    let parameters = [("dgamma", &*dgamma), ("dbeta", &*dbeta), ("mean", mean), ("inv_std", inv_std), ("gamma", gamma)];
    for (name, slice) in parameters {
        check_len(&describe(), name, slice, channels);
    }
    let block = block_len(channels);
    let (sum_dy, sum_dy_x) = gradient_sums(dy, x, mean, channels);
    let mut by_dy = vec![0.0; channels];
    let mut by_x = vec![0.0; channels];
    let mut constant = vec![0.0; channels];
    for c in 0..channels {
        let inv_std = f64::from(inv_std[c]);
        let sum_dy_xhat = sum_dy_x[c] * inv_std;
        dbeta[c] += sum_dy[c] as f32;
        dgamma[c] += sum_dy_xhat as f32;
        // dx = by_dy dy + by_x (x - mean) + constant
        let scale = f64::from(gamma[c]) * inv_std;
        by_dy[c] = scale as f32;
        by_x[c] = (-scale * inv_std * sum_dy_xhat / rows as f64) as f32;
        constant[c] = (-scale * sum_dy[c] / rows as f64) as f32;
    }
    dx.par_chunks_mut(block).zip(dy.par_chunks(block).zip(x.par_chunks(block))).for_each(|(dx, (dy, x))| {
        with_wide_vectors(|| {
            let rows = dx.chunks_exact_mut(channels).zip(dy.chunks_exact(channels).zip(x.chunks_exact(channels)));
            for (dx, (dy, x)) in rows {
                let terms = by_dy.iter().zip(&by_x).zip(mean.iter().zip(&constant));
                for ((dx, (dy, x)), ((by_dy, by_x), (mean, constant))) in dx.iter_mut().zip(dy.iter().zip(x)).zip(terms)
                {
                    *dx = by_dy * dy + (by_x * (x - mean) + constant);
                }
            }
        });
    });
}

/// sum dy and sum dy (x - mean), per channel.
fn gradient_sums(dy: &[f32], x: &[f32], mean: &[f32], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let block = block_len(channels);
    let mut sums = vec![0.0f32; 2 * channels * x.len().div_ceil(block)];
    sums.par_chunks_mut(2 * channels).zip(dy.par_chunks(block).zip(x.par_chunks(block))).for_each(|(sums, (dy, x))| {
        let (sum_dy, sum_dy_x) = sums.split_at_mut(channels);
        with_wide_vectors(|| {
            for (dy, x) in dy.chunks_exact(channels).zip(x.chunks_exact(channels)) {
                let sums = sum_dy.iter_mut().zip(sum_dy_x.iter_mut());
                for ((sum_dy, sum_dy_x), (dy, (x, mean))) in sums.zip(dy.iter().zip(x.iter().zip(mean))) {
                    *sum_dy += dy;
                    *sum_dy_x += dy * (x - mean);
                }
            }
        });
    });
    let mut totals = (vec![0.0; channels], vec![0.0; channels]);
    for sums in sums.chunks_exact(2 * channels) {
        for c in 0..channels {
            totals.0[c] += f64::from(sums[c]);
            totals.1[c] += f64::from(sums[channels + c]);
        }
    }
    totals
}

/// Mean and sum of squared deviations of one block; both arrive zeroed.
#[inline(always)]
fn block_moments(mean: &mut [f32], square: &mut [f32], x: &[f32]) {
    let channels = mean.len();
    let pivot = &x[..channels];
    for row in x.chunks_exact(channels) {
        for (mean, (x, pivot)) in mean.iter_mut().zip(row.iter().zip(pivot)) {
            *mean += x - pivot;
        }
    }
    let inverse = 1.0 / (x.len() / channels) as f32;
    for (mean, pivot) in mean.iter_mut().zip(pivot) {
        *mean = *mean * inverse + pivot;
    }
    for row in x.chunks_exact(channels) {
        for (square, (x, mean)) in square.iter_mut().zip(row.iter().zip(&*mean)) {
            *square += (x - mean) * (x - mean);
        }
    }
}

fn join_moments(mean: &mut [f32], var: &mut [f32], moments: &[f32], rows: usize, block_rows: usize) {
    let channels = mean.len();
    for c in 0..channels {
        let (mut count, mut joint, mut squares) = (0.0, 0.0, 0.0);
        for (index, moments) in moments.chunks_exact(2 * channels).enumerate() {
            let added = (rows - index * block_rows).min(block_rows) as f64;
            let delta = f64::from(moments[c]) - joint;
            let total = count + added;
            joint += delta * added / total;
            squares += f64::from(moments[channels + c]) + delta * delta * count * added / total;
            count = total;
        }
        mean[c] = joint as f32;
        var[c] = (squares / count) as f32;
    }
}

fn block_len(channels: usize) -> usize {
    assert!(channels > 0, "batch_norm: no channels");
    (BLOCK / channels).max(1) * channels
}

fn sizes(operation: &str, rows: usize, channels: usize) -> String {
    format!("{operation} (rows {rows}, channels {channels})")
}
