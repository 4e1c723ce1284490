//! Batch normalisation over rows, with the residual addition and the ReLU that may follow it. Matrices (x, y, dx, dy,
//! dz and the shortcut) are (rows, channels) with rows = H W N; all other slices are (channels). Contract: dgamma and
//! dbeta are added to (+=), the rest is written (=).

use std::ops::Range;

use super::check_len;
use super::isa::isa;
use super::rows::Output;
use super::rows::Rows;
use super::rows::Span;
use super::rows::Summand;
use super::rows::Tiled;
use super::rows::block_sums;
use super::rows::column_sums;
use super::rows::sweep_all;
use super::vector::Element;
use super::vector::Vector;

/// The coefficients of the normalisation y = gamma (x - mean) inv_std + beta.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// The mean of each channel.
    pub mean: &'a [f32],
    /// 1 / sqrt(var + epsilon).
    pub inv_std: &'a [f32],
    /// The scale of each channel.
    pub gamma: &'a [f32],
    /// The shift of each channel.
    pub beta: &'a [f32],
}

/// Where the gradients of gamma and beta are added.
#[derive(Debug)]
pub struct NormGradients<'a> {
    /// The gradient of gamma.
    pub dgamma: &'a mut [f32],
    /// The gradient of beta.
    pub dbeta: &'a mut [f32],
}

/// Whether the moments depend on x, and where the gradients of gamma and beta are added.
#[derive(Debug)]
pub enum NormMode<'a> {
    /// The moments are those of x.
    Batch(NormGradients<'a>),
    /// The moments are constant: a frozen normalisation. Without gradients, gamma and beta are constant, too.
    Frozen(Option<NormGradients<'a>>),
}

/// Which elements of dy pass back through the ReLU after the normalisation.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a, E> {
    /// All elements: there is no ReLU.
    Open,
    /// Elements whose normalised x, recomputed, is positive: for a ReLU without a shortcut.
    Recomputed,
    /// Elements whose output is positive.
    Output(&'a [E]),
}

/// Computes mean and var (biased) of each channel.
///
/// The sums run over differences from the mean of a few rows (the pivot), so that a large common offset does not cost
/// precision.
pub fn statistics<E: Element>(mean: &mut [f32], var: &mut [f32], x: &[E], rows: usize, channels: usize) {
    let describe = || sizes("batch_norm::statistics", rows, channels);
    check_len(&describe(), "x", x, rows * channels);
    check_len(&describe(), "mean", mean, channels);
    check_len(&describe(), "var", var, channels);
    assert!(rows > 0, "{}: no rows", describe());
    let pivot = pivot(x, rows, channels);
    // SAFETY: x is (rows, channels).
    let [sums, squares] = unsafe { column_sums(Moments { x, pivot: &pivot }, rows, channels, false) };
    let share = 1.0 / rows as f64;
    for c in 0..channels {
        let shift = sums[c] * share;
        mean[c] = (f64::from(pivot[c]) + shift) as f32;
        // For a constant channel, rounding can make the difference of squares negative. NaN must stay NaN.
        let variance = squares[c] * share - shift * shift;
        var[c] = if variance < 0.0 { 0.0 } else { variance as f32 };
    }
}

/// Computes y = gamma (x - mean) inv_std + beta [+ shortcut], then a ReLU if `rectify` is set. Used in training (with
/// the statistics of the batch) and in evaluation (with the running statistics).
pub fn normalize<E: Element>(y: &mut [E], x: &[E], norm: &Normalization, shortcut: Option<&[E]>, rectify: bool) {
    let (rows, channels) = norm.check("batch_norm::normalize", x);
    let describe = || sizes("batch_norm::normalize", rows, channels);
    check_len(&describe(), "y", y, x.len());
    let y = Output::new(y);
    let scale = scales(norm);
    let affine = Affine { mean: norm.mean, scale: &scale, beta: norm.beta };
    // SAFETY: all matrices are (rows, channels), and y is borrowed.
    unsafe {
        match (shortcut, rectify) {
            (None, false) => sweep_all(Normalize::<E, false, false> { y, x, shortcut: x, affine }, rows, channels),
            (None, true) => sweep_all(Normalize::<E, false, true> { y, x, shortcut: x, affine }, rows, channels),
            (Some(shortcut), rectify) => {
                check_len(&describe(), "shortcut", shortcut, x.len());
                if rectify {
                    sweep_all(Normalize::<E, true, true> { y, x, shortcut, affine }, rows, channels);
                } else {
                    sweep_all(Normalize::<E, true, false> { y, x, shortcut, affine }, rows, channels);
                }
            }
        }
    }
}

/// Computes the gradients. With dz = dy where the gate is open, else 0, and x̂ = (x - mean) inv_std: dbeta += sum dz,
/// dgamma += sum dz x̂, dx = gamma inv_std (dz - mean(dz) - x̂ mean(dz x̂)). If the moments are constant, dx = gamma
/// inv_std dz. If `dz` is given, dz is written there: it is the gradient of the shortcut.
pub fn backward<E: Element>(
    dx: &mut [E],
    dz: Option<&mut [E]>,
    mode: NormMode,
    dy: &[E],
    x: &[E],
    norm: &Normalization,
    gate: Gate<E>,
) {
    let (rows, channels) = norm.check("batch_norm::backward", x);
    let describe = || sizes("batch_norm::backward", rows, channels);
    check_len(&describe(), "dx", dx, x.len());
    check_len(&describe(), "dy", dy, x.len());
    if let NormMode::Batch(gradients) | NormMode::Frozen(Some(gradients)) = &mode {
        check_len(&describe(), "dgamma", gradients.dgamma, channels);
        check_len(&describe(), "dbeta", gradients.dbeta, channels);
    }
    if let Some(dz) = &dz {
        check_len(&describe(), "dz", dz, x.len());
    }
    if let Gate::Output(y) = gate {
        check_len(&describe(), "the gate's output", y, x.len());
    }
    let scale = scales(norm);
    let affine = Affine { mean: norm.mean, scale: &scale, beta: norm.beta };
    let outputs = (Output::new(dx), dz.map(Output::new));
    match gate {
        Gate::Open => backward_gated(outputs, mode, Gated::<E, OPEN> { dy, x, y: dy, affine }, norm),
        Gate::Recomputed => backward_gated(outputs, mode, Gated::<E, RECOMPUTED> { dy, x, y: dy, affine }, norm),
        Gate::Output(y) => backward_gated(outputs, mode, Gated::<E, OUTPUT> { dy, x, y, affine }, norm),
    }
}

fn backward_gated<E: Element, const GATE: u8>(
    (dx, dz): (Output<E>, Option<Output<E>>),
    mode: NormMode,
    gated: Gated<E, GATE>,
    norm: &Normalization,
) {
    let channels = norm.mean.len();
    let rows = gated.x.len() / channels;
    // dx = scale dz + by_x (x - mean) + constant
    let mut by_x = vec![0.0; channels];
    let mut constant = vec![0.0; channels];
    let (gradients, frozen) = match mode {
        NormMode::Batch(gradients) => (Some(gradients), false),
        NormMode::Frozen(gradients) => (gradients, true),
    };
    if let Some(NormGradients { dgamma, dbeta }) = gradients {
        // SAFETY: all matrices are (rows, channels).
        let [sum_dz, sum_dz_x] = unsafe { column_sums(gated, rows, channels, false) };
        for c in 0..channels {
            let inv_std = f64::from(norm.inv_std[c]);
            let sum_dz_xhat = sum_dz_x[c] * inv_std;
            dbeta[c] += sum_dz[c] as f32;
            dgamma[c] += sum_dz_xhat as f32;
            if !frozen {
                let scale = f64::from(norm.gamma[c]) * inv_std;
                by_x[c] = (-scale * inv_std * sum_dz_xhat / rows as f64) as f32;
                constant[c] = (-scale * sum_dz[c] / rows as f64) as f32;
            }
        }
    }
    let (by_x, constant) = (&by_x, &constant);
    // SAFETY: all matrices are (rows, channels), and dx and dz are borrowed.
    unsafe {
        match dz {
            None => sweep_all(InputGradient::<_, GATE, false> { dz: dx, dx, gated, by_x, constant }, rows, channels),
            Some(dz) => {
                sweep_all(InputGradient::<_, GATE, true> { dz, dx, gated, by_x, constant }, rows, channels);
            }
        }
    }
}

impl Normalization<'_> {
    /// Returns rows and channels. Panics unless the lengths match and x has whole rows.
    fn check<E>(&self, operation: &str, x: &[E]) -> (usize, usize) {
        let channels = self.mean.len();
        assert!(
            channels > 0 && x.len().is_multiple_of(channels),
            "{operation}: {} elements of {channels} channels",
            x.len()
        );
        for (name, slice) in [("inv_std", self.inv_std), ("gamma", self.gamma), ("beta", self.beta)] {
            check_len(operation, name, slice, channels);
        }
        (x.len() / channels, channels)
    }
}

/// Returns the mean of a few rows that are spread over the data.
fn pivot<E: Element>(x: &[E], rows: usize, channels: usize) -> Vec<f32> {
    let samples = rows.min(8);
    let every = Rows { x, columns: rows / samples * channels };
    let mut pivot = vec![0.0; channels];
    // SAFETY: `samples` rows that are `every.columns` apart end within x.
    unsafe { block_sums(isa(), every, &mut pivot, 0..samples, 0..channels) };
    pivot.iter_mut().for_each(|pivot| *pivot /= samples as f32);
    pivot
}

/// The sums of differences from the pivot, and of their squares.
#[derive(Clone, Copy)]
struct Moments<'a, E> {
    x: &'a [E],
    pivot: &'a [f32],
}

impl<E: Element> Summand<2> for Moments<'_, E> {
    #[inline(always)]
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; 2] {
        // SAFETY: the caller guarantees that the tile lies in x.
        unsafe {
            let pivot: V = span.load(self.pivot.as_ptr());
            let (mut sum, mut square) = (V::splat(0.0), V::splat(0.0));
            for row in rows {
                let x: V = span.load(self.x.as_ptr().add(row * self.pivot.len()));
                let difference = x.sub(pivot);
                sum = sum.add(difference);
                square = square.add_product(difference, difference);
            }
            [sum, square]
        }
    }
}

/// gamma inv_std.
fn scales(norm: &Normalization) -> Vec<f32> {
    norm.gamma.iter().zip(norm.inv_std).map(|(gamma, inv_std)| gamma * inv_std).collect()
}

/// (x - mean) scale + beta, with scale = gamma inv_std.
#[derive(Clone, Copy)]
struct Affine<'a> {
    mean: &'a [f32],
    scale: &'a [f32],
    beta: &'a [f32],
}

/// The affine map of one span.
#[derive(Clone, Copy)]
struct AffineSpan<V> {
    mean: V,
    scale: V,
    beta: V,
}

impl Affine<'_> {
    fn channels(&self) -> usize {
        self.mean.len()
    }

    /// # Safety
    /// As for `Tiled::tile`.
    #[inline(always)]
    unsafe fn span<V: Vector>(&self, span: Span) -> AffineSpan<V> {
        // SAFETY: the caller guarantees that the span lies in the channels.
        unsafe {
            AffineSpan {
                mean: span.load(self.mean.as_ptr()),
                scale: span.load(self.scale.as_ptr()),
                beta: span.load(self.beta.as_ptr()),
            }
        }
    }
}

impl<V: Vector> AffineSpan<V> {
    /// The single expression that both directions use, so that a recomputed gate agrees bit for bit with the ReLU.
    #[inline(always)]
    unsafe fn of_centred(&self, x: V) -> V {
        // SAFETY: guaranteed by the caller.
        unsafe { self.beta.add_product(x, self.scale) }
    }
}

#[derive(Clone, Copy)]
struct Normalize<'a, E, const SHORTCUT: bool, const RECTIFY: bool> {
    y: Output<E>,
    x: &'a [E],
    shortcut: &'a [E],
    affine: Affine<'a>,
}

impl<E: Element, const SHORTCUT: bool, const RECTIFY: bool> Tiled for Normalize<'_, E, SHORTCUT, RECTIFY> {
    const HEIGHT: usize = 4;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the tile lies in the matrices.
        unsafe {
            let affine = self.affine.span::<V>(span);
            for row in rows {
                let at = row * self.affine.channels();
                let x: V = span.load(self.x.as_ptr().add(at));
                let mut z = affine.of_centred(x.sub(affine.mean));
                if SHORTCUT {
                    z = z.add(span.load(self.shortcut.as_ptr().add(at)));
                }
                if RECTIFY {
                    z = V::splat(0.0).max(z);
                }
                span.store(self.y.at(at), z);
            }
        }
    }
}

const OPEN: u8 = 0;
const RECOMPUTED: u8 = 1;
const OUTPUT: u8 = 2;

/// dy with the gate of the ReLU applied.
#[derive(Clone, Copy)]
struct Gated<'a, E, const GATE: u8> {
    dy: &'a [E],
    x: &'a [E],
    /// The output, if the gate reads it.
    y: &'a [E],
    affine: Affine<'a>,
}

impl<E: Element, const GATE: u8> Gated<'_, E, GATE> {
    /// Returns dz and x - mean.
    ///
    /// # Safety
    /// As for `Tiled::tile`.
    #[inline(always)]
    unsafe fn load<V: Vector>(&self, affine: &AffineSpan<V>, row: usize, span: Span) -> (V, V) {
        // SAFETY: the caller guarantees that the row and the span lie in the matrices.
        unsafe {
            let at = row * self.affine.channels();
            let x: V = span.load(self.x.as_ptr().add(at));
            let dy: V = span.load(self.dy.as_ptr().add(at));
            let centred = x.sub(affine.mean);
            let dz = match GATE {
                OPEN => dy,
                RECOMPUTED => dy.where_positive(affine.of_centred(centred)),
                _ => dy.where_positive(span.load(self.y.as_ptr().add(at))),
            };
            (dz, centred)
        }
    }
}

/// The sums of dz and of dz (x - mean).
impl<E: Element, const GATE: u8> Summand<2> for Gated<'_, E, GATE> {
    #[inline(always)]
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; 2] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let affine = self.affine.span::<V>(span);
            let (mut sum, mut sum_x) = (V::splat(0.0), V::splat(0.0));
            for row in rows {
                let (dz, centred) = self.load(&affine, row, span);
                sum = sum.add(dz);
                sum_x = sum_x.add_product(dz, centred);
            }
            [sum, sum_x]
        }
    }
}

/// dx = scale dz + by_x (x - mean) + constant, and dz.
#[derive(Clone, Copy)]
struct InputGradient<'a, E, const GATE: u8, const DZ: bool> {
    dx: Output<E>,
    dz: Output<E>,
    gated: Gated<'a, E, GATE>,
    by_x: &'a [f32],
    constant: &'a [f32],
}

impl<E: Element, const GATE: u8, const DZ: bool> Tiled for InputGradient<'_, E, GATE, DZ> {
    const HEIGHT: usize = 4;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        // SAFETY: the caller guarantees that the tile lies in the matrices.
        unsafe {
            let affine = self.gated.affine.span::<V>(span);
            let by_x: V = span.load(self.by_x.as_ptr());
            let constant: V = span.load(self.constant.as_ptr());
            for row in rows {
                let at = row * self.gated.affine.channels();
                let (dz, centred) = self.gated.load(&affine, row, span);
                if DZ {
                    span.store(self.dz.at(at), dz);
                }
                span.store(self.dx.at(at), constant.add_product(by_x, centred).add_product(affine.scale, dz));
            }
        }
    }
}

fn sizes(operation: &str, rows: usize, channels: usize) -> String {
    format!("{operation} (rows {rows}, channels {channels})")
}
