//! Reference implementations of convolution and matrix products: naive loops with f64 sums. The tests compare the
//! fast kernels with them.
//!
//! Weights are f32 and are rounded to the format of the activations before they are multiplied. The contract is that
//! of `cpu`: `dw` is added to, the rest is written.

use super::vector::Element;
use crate::kernels::shapes::ConvShape;

/// y(oy, ox, n, o) = bias(o) + sum over ky, kx, i of x(oy s + ky - p, ox s + kx - p, n, i) w(o, ky, kx, i).
pub fn conv2d_forward<E: Element>(y: &mut [E], x: &[E], w: &[f32], bias: Option<&[f32]>, shape: &ConvShape) {
    let bias = |at: usize| bias.map_or(0.0, |bias| f64::from(bias[at % shape.out_channels]));
    let mut sums: Vec<f64> = (0..y.len()).map(bias).collect();
    for_each_product(shape, |x_at, w_at, y_at| sums[y_at] += wide(x[x_at]) * wide(E::from_f32(w[w_at])));
    write(y, &sums);
}

/// dx(x_at) = onto(x_at) + sum of dy(y_at) w(w_at) over the products that x(x_at) takes part in.
pub fn conv2d_input_gradient<E: Element>(dx: &mut [E], dy: &[E], w: &[f32], onto: Option<&[E]>, shape: &ConvShape) {
    let mut sums = onto.map_or_else(|| vec![0.0f64; dx.len()], |onto| onto.iter().map(|&value| wide(value)).collect());
    for_each_product(shape, |x_at, w_at, y_at| sums[x_at] += wide(dy[y_at]) * wide(E::from_f32(w[w_at])));
    write(dx, &sums);
}

/// dw(w_at) += sum of dy(y_at) x(x_at) over the products that w(w_at) takes part in.
pub fn conv2d_weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], shape: &ConvShape) {
    let mut sums: Vec<f64> = dw.iter().map(|&value| f64::from(value)).collect();
    for_each_product(shape, |x_at, w_at, y_at| sums[w_at] += wide(dy[y_at]) * wide(x[x_at]));
    write(dw, &sums);
}

/// c (m, n) = sum over k of a(i, k) b(k, j), where `a_at(i, k)` and `b_at(k, j)` return the indices of the factors.
pub fn product(
    c: &mut [f32],
    (a, a_at): (&[f32], impl Fn(usize, usize) -> usize),
    (b, b_at): (&[f32], impl Fn(usize, usize) -> usize),
    (m, k, n): (usize, usize, usize),
) {
    for i in 0..m {
        for j in 0..n {
            let terms = (0..k).map(|l| f64::from(a[a_at(i, l)]) * f64::from(b[b_at(l, j)]));
            c[i * n + j] = terms.sum::<f64>() as f32;
        }
    }
}

/// Calls `each(x_at, w_at, y_at)` for every product of the convolution. Products with padding are skipped.
fn for_each_product(shape: &ConvShape, mut each: impl FnMut(usize, usize, usize)) {
    let &ConvShape { batch, height, width, in_channels, out_channels, kernel, stride, padding, .. } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let pixels = (0..out_height).flat_map(|oy| (0..out_width).flat_map(move |ox| (0..batch).map(move |n| (n, oy, ox))));
    for (n, oy, ox) in pixels {
        for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
            let (iy, ix) = (oy * stride + ky, ox * stride + kx);
            if iy < padding || iy >= height + padding || ix < padding || ix >= width + padding {
                continue;
            }
            let x_pixel = shape.input_pixel(n, iy - padding, ix - padding);
            let y_pixel = (oy * out_width + ox) * batch + n;
            for o in 0..out_channels {
                let w_tap = (o * kernel + ky) * kernel + kx;
                for i in 0..in_channels {
                    each(x_pixel * in_channels + i, w_tap * in_channels + i, y_pixel * out_channels + o);
                }
            }
        }
    }
}

fn wide<E: Element>(value: E) -> f64 {
    f64::from(value.to_f32())
}

fn write<E: Element>(values: &mut [E], sums: &[f64]) {
    for (value, &sum) in values.iter_mut().zip(sums) {
        *value = E::from_f32(sum as f32);
    }
}
