//! Layer normalisation of each row separately: x, y, dx, dy (rows, channels), mean and inv_std (rows), gamma and beta
//! (channels). Contract: dgamma and dbeta are added to (+=), the rest is written (=).

use std::ops::Range;

use super::batch_norm::NormGradients;
use super::batch_norm::Normalization;
use super::check_len;
use super::isa::Isa;
use super::isa::isa;
use super::partition::for_each;
use super::rows::Output;
use super::rows::PIECE;
use super::rows::Span;
use super::rows::Summand;
use super::rows::Terms;
use super::rows::column_sums;
use super::rows::row_sums;
use super::rows::spans;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// y = gamma (x - mean) inv_std + beta, with the mean and inv_std = 1 / sqrt(var + epsilon) of each row, which are
/// written too (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>).
pub fn forward<E: Element>(
    y: &mut [E],
    mean: &mut [f32],
    inv_std: &mut [f32],
    x: &[E],
    (gamma, beta): (&[f32], &[f32]),
    epsilon: f32,
) {
    let (rows, channels) = (mean.len(), gamma.len());
    let describe = || sizes("layer_norm::forward", rows, channels);
    assert!(channels > 0, "{}: no channels", describe());
    check_len(&describe(), "x", x, rows * channels);
    check_len(&describe(), "y", y, rows * channels);
    check_len(&describe(), "inv_std", inv_std, rows);
    check_len(&describe(), "beta", beta, channels);
    let (y, mean, inv_std) = (Output::new(y), Output::new(mean), Output::new(inv_std));
    let (isa, height) = (isa(), (PIECE / channels).max(1));
    for_each(rows.div_ceil(height), |piece| {
        let rows = piece * height..rows.min((piece + 1) * height);
        run(isa, Forward { y, mean, inv_std, x, gamma, beta, epsilon, rows });
    });
}

/// With dŷ = dy gamma and x̂ = (x - mean) inv_std: dx = inv_std (dŷ - mean(dŷ) - x̂ mean(dŷ x̂)), with means over the
/// row; dgamma += sum dy x̂ and dbeta += sum dy over the rows. `norm` holds the mean and inv_std of `forward`. dx is
/// added to `onto` if it is given.
pub fn backward<E: Element>(
    dx: &mut [E],
    gradients: NormGradients,
    dy: &[E],
    x: &[E],
    norm: &Normalization,
    onto: Option<&[E]>,
) {
    let (rows, channels) = (norm.mean.len(), norm.gamma.len());
    let describe = || sizes("layer_norm::backward", rows, channels);
    assert!(channels > 0, "{}: no channels", describe());
    let NormGradients { dgamma, dbeta } = gradients;
    check_len(&describe(), "dx", dx, rows * channels);
    check_len(&describe(), "dy", dy, rows * channels);
    check_len(&describe(), "x", x, rows * channels);
    onto.inspect(|onto| check_len(&describe(), "onto", onto, rows * channels));
    check_len(&describe(), "inv_std", norm.inv_std, rows);
    check_len(&describe(), "dgamma", dgamma, channels);
    check_len(&describe(), "dbeta", dbeta, channels);
    // SAFETY: all matrices are (rows, channels), and dx is borrowed.
    let [sum_xhat, sum] =
        unsafe { column_sums(Backward { dx: Output::new(dx), dy, x, norm: *norm, onto }, rows, channels, true) };
    dgamma.iter_mut().zip(&sum_xhat).for_each(|(dgamma, &sum)| *dgamma += sum as f32);
    dbeta.iter_mut().zip(&sum).for_each(|(dbeta, &sum)| *dbeta += sum as f32);
}

struct Forward<'a, E> {
    y: Output<E>,
    mean: Output<f32>,
    inv_std: Output<f32>,
    x: &'a [E],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    rows: Range<usize>,
}

impl<E: Element> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.gamma.len();
        for row in self.rows {
            let x = &self.x[row * channels..][..channels];
            // SAFETY: the row has `channels` elements, and no other task writes to it.
            unsafe {
                let [sum] = row_sums::<V, 1, _>(&Centred { x, mean: V::splat(0.0) }, channels);
                let mean = sum / channels as f32;
                let centred = Centred { x, mean: V::splat(mean) };
                let [square] = row_sums::<V, 1, _>(&Squared(centred), channels);
                let inv_std = 1.0 / (square / channels as f32 + self.epsilon).sqrt();
                self.mean.at(row).write(mean);
                self.inv_std.at(row).write(inv_std);
                let (y, scale) = (self.y.at(row * channels), V::splat(inv_std));
                for span in spans::<V>(0..channels) {
                    let x = span.load::<E, V>(x.as_ptr()).sub(centred.mean).mul(scale);
                    let beta: V = span.load(self.beta.as_ptr());
                    span.store(y, beta.add_product(x, span.load(self.gamma.as_ptr())));
                }
            }
        }
    }
}

/// x - mean.
#[derive(Clone, Copy)]
struct Centred<'a, E, V> {
    x: &'a [E],
    mean: V,
}

/// (x - mean)².
struct Squared<'a, E, V>(Centred<'a, E, V>);

// SAFETY (all blocks): the span lies in the row.
impl<E: Element, V: Vector> Terms<V, 1> for Centred<'_, E, V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe { [span.load::<E, V>(self.x.as_ptr()).sub(self.mean)] }
    }
}

impl<E: Element, V: Vector> Terms<V, 1> for Squared<'_, E, V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 1] {
        unsafe {
            let [x] = self.0.of(span);
            [x.mul(x)]
        }
    }
}

/// Writes dx and contributes dy x̂ and dy to the sums over rows.
#[derive(Clone, Copy)]
struct Backward<'a, E> {
    dx: Output<E>,
    dy: &'a [E],
    x: &'a [E],
    norm: Normalization<'a>,
    onto: Option<&'a [E]>,
}

impl<E: Element> Summand<2> for Backward<'_, E> {
    #[inline(always)]
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; 2] {
        let channels = self.norm.gamma.len();
        // SAFETY: the caller guarantees that the tile lies in the matrices.
        unsafe {
            let mut sums = [V::splat(0.0); 2];
            for row in rows {
                let dy: V = span.load(self.dy.as_ptr().add(row * channels));
                let x: V = span.load(self.x.as_ptr().add(row * channels));
                let centred = x.sub(V::splat(*self.norm.mean.as_ptr().add(row)));
                let xhat = centred.mul(V::splat(*self.norm.inv_std.as_ptr().add(row)));
                sums = [sums[0].add_product(dy, xhat), sums[1].add(dy)];
            }
            sums
        }
    }

    unsafe fn prepare(&self, isa: Isa, rows: Range<usize>) {
        run(isa, InputGradient { of: *self, rows });
    }
}

struct InputGradient<'a, E> {
    of: Backward<'a, E>,
    rows: Range<usize>,
}

impl<E: Element> Kernel for InputGradient<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Backward { dx, dy, x, norm, onto } = self.of;
        let channels = norm.gamma.len();
        for row in self.rows {
            let range = row * channels..(row + 1) * channels;
            let (dy, x) = (&dy[range.clone()], &x[range.clone()]);
            let onto = onto.map_or(std::ptr::null(), |onto| onto[range].as_ptr());
            // SAFETY: the rows have `channels` elements, and no other task writes to those of dx.
            unsafe {
                let (mean, scale) = (V::splat(norm.mean[row]), V::splat(norm.inv_std[row]));
                let terms = RowGradient { dy, x, gamma: norm.gamma, mean, scale };
                let [sum, sum_x] = row_sums::<V, 2, _>(&terms, channels);
                let (mean, mean_x) = (V::splat(sum / channels as f32), V::splat(sum_x / channels as f32));
                let dx = dx.at(row * channels);
                for span in spans::<V>(0..channels) {
                    let (dy, xhat) = terms.load(span);
                    let gradient = dy.sub(mean).sub(xhat.mul(mean_x)).mul(scale);
                    let others = if onto.is_null() { V::splat(0.0) } else { span.load(onto) };
                    span.store(dx, gradient.add(others));
                }
            }
        }
    }
}

/// dŷ and dŷ x̂ of one row.
struct RowGradient<'a, E, V> {
    dy: &'a [E],
    x: &'a [E],
    gamma: &'a [f32],
    mean: V,
    scale: V,
}

impl<E: Element, V: Vector> RowGradient<'_, E, V> {
    /// dŷ and x̂.
    ///
    /// # Safety
    /// The span must lie in the row, with the instruction set of V enabled in the caller.
    #[inline(always)]
    unsafe fn load(&self, span: Span) -> (V, V) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let dy = span.load::<E, V>(self.dy.as_ptr()).mul(span.load(self.gamma.as_ptr()));
            (dy, span.load::<E, V>(self.x.as_ptr()).sub(self.mean).mul(self.scale))
        }
    }
}

impl<E: Element, V: Vector> Terms<V, 2> for RowGradient<'_, E, V> {
    #[inline(always)]
    unsafe fn of(&self, span: Span) -> [V; 2] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let (dy, xhat) = self.load(span);
            [dy, dy.mul(xhat)]
        }
    }
}

fn sizes(operation: &str, rows: usize, channels: usize) -> String {
    format!("{operation} (rows {rows}, channels {channels})")
}
