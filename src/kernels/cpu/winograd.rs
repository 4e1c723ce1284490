//! 3x3 convolutions of stride 1 and padding 1 by Winograd's minimal filtering F(4x4, 3x3): Lavin and Gray 2016, "Fast
//! Algorithms for Convolutional Neural Networks", <https://arxiv.org/abs/1509.09308>.
//!
//!   y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A    for each square of 4x4 outputs, where d is the 6x6 inputs that it reads
//!
//! 36 products of matrices (squares and images, channels) replace nine products at sixteen positions. This is four
//! times fewer multiplications, at the price of transforms whose cost grows with the channels only. Both formats are
//! transformed and multiplied in f32: a bf16 is widened when it is loaded and rounded once, when the output is
//! stored. Weights are not rounded here. So a convolution of bf16 numbers is closer to the exact result than with the
//! direct method.
//!
//! The interpolation points are 0, ±5/8, ±3/2 and infinity. Opposite points share the even and odd parts of a
//! transform, and their powers are exact in f32. The table shows the root mean square error for 64 channels of
//! normally distributed numbers, in f32 compared to f64, relative to the root mean square of the result (largest
//! error in brackets), for an output and a weight gradient:
//!
//! | method | output | weight gradient |
//! |---|---|---|
//! | direct | 4.1e-7 (2.7e-6) | 6.0e-7 (4.2e-6) |
//! | ±5/8, ±3/2 | 7.6e-7 (5.2e-6) | 7.5e-7 (4.0e-6) |
//! | ±√½, ±√2 | 8.1e-7 (6.2e-6) | 7.9e-7 (3.8e-6) |
//! | ±1/2, ±2 | 1.1e-6 (1.0e-5) | 1.1e-6 (6.5e-6) |
//! | ±1, ±2 | 1.7e-6 (2.0e-5) | 1.7e-6 (1.5e-5) |

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::Isa;
use super::isa;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::tile_rows;
use super::partition::with_scratch;
use super::product;
use super::product::Cut;
use super::product::Gathered;
use super::product::Weights;
use super::tile;
use super::tile::Operands;
use super::tile::Segment;
use super::tile::Tile;
use super::vector;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;
use crate::kernels::shapes::ConvShape;
use crate::kernels::shapes::Layout;

/// Outputs of a square along one axis.
const SQUARE: usize = 4;
/// Points along one axis: 0, A, -A, B, -B and infinity.
const LINE: usize = 6;
/// The number of matrix products.
const POINTS: usize = LINE * LINE;
/// Taps of the kernel along one axis.
const TAPS: usize = 3;
const A: f64 = 0.625;
const B: f64 = 1.5;
/// Floats that a task transforms and multiplies at a time: half of a typical second-level cache.
const BLOCK: usize = 128 * 1024;
/// Floats of both operands that are transformed at a time for a weight gradient: they stay in the third-level cache.
const CHUNK: usize = 2 * 1024 * 1024;
/// Rows of a chunk that a task transforms.
const ROWS: usize = 48;

/// Whether this method is faster for outputs and input gradients. It must save enough multiplications to pay for the
/// transforms, and have enough rows to pay for the transforms of the weights. On processors that multiply bf16, the
/// direct method does two multiplications in the time of one.
pub fn applies<E: Element>(shape: &ConvShape) -> bool {
    let &ConvShape { layout, kernel, stride, padding, in_channels, out_channels, .. } = shape;
    let rows = Squares::new(shape).rows();
    let (fewer, many) = if is_cheap::<E>() { (2.7, 128) } else { (1.5, 64) };
    let fits = layout == Layout::Maps && (kernel, stride, padding) == (TAPS, 1, 1);
    let pays = shape.products() as f64 >= fewer * (rows * POINTS * in_channels * out_channels) as f64;
    fits && in_channels.min(out_channels) >= 32 && rows >= many && pays
}

/// The same for weight gradients. Both operands are transformed and leave the second-level cache before they are
/// multiplied, so there is no gain if multiplications are cheap.
pub fn applies_to_weights<E: Element>(shape: &ConvShape) -> bool {
    applies::<E>(shape) && !is_cheap::<E>()
}

/// Whether the direct method multiplies twice as fast as in f32.
fn is_cheap<E: Element>() -> bool {
    E::TERMS == 2 && isa() == Isa::Avx512Bf16
}

/// y = x * w [+ bias, rounded to the format of y].
pub fn forward<E: Element>(y: &mut [E], x: &[E], w: &[f32], bias: Option<&[f32]>, shape: &ConvShape) {
    let squares = Squares::new(shape);
    let (x, columns) = (Map { elements: x, channels: shape.in_channels, squares: &squares }, shape.out_channels);
    let bias: Option<Vec<E>> = bias.map(|bias| {
        let images = std::iter::repeat_n(bias, shape.batch);
        images.flatten().map(|&bias| E::from_f32(bias)).collect()
    });
    let onto = bias.as_deref().map_or(Onto::Nothing, Onto::Position);
    convolve(y, &x, onto, Weights::Transposed(w), |tap| tap, columns);
}

/// Writes the gradient of x to dx, added to `onto` if it is given: the convolution of dy with the kernel rotated by
/// 180 degrees.
pub fn input_gradient<E: Element>(dx: &mut [E], dy: &[E], w: &[f32], onto: Option<&[E]>, shape: &ConvShape) {
    let squares = Squares::new(shape);
    let (dy, columns) = (Map { elements: dy, channels: shape.out_channels, squares: &squares }, shape.in_channels);
    convolve(
        dx,
        &dy,
        onto.map_or(Onto::Nothing, Onto::Map),
        Weights::Straight(w),
        |tap| TAPS * TAPS - 1 - tap,
        columns,
    );
}

/// dw += the gradient of w: Gᵀ [ sum over squares and images of (A dy Aᵀ) ⊙ (Bᵀ x B) ] G.
pub fn weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], shape: &ConvShape) {
    let isa = isa();
    let squares = Squares::new(shape);
    let dy = Map { elements: dy, channels: shape.out_channels, squares: &squares };
    let x = Map { elements: x, channels: shape.in_channels, squares: &squares };
    let rows = squares.rows();
    let chunk = (CHUNK / (POINTS * (dy.channels + x.channels))).clamp(64, rows.max(64));
    let (a_pitch, b_pitch) = (pitch(chunk * dy.channels), pitch(chunk * x.channels));
    let sums = POINTS * dy.channels * x.channels;
    // Tiles read whole vectors; the last ones read beyond the last row.
    with_scratch(sums + POINTS * (a_pitch + b_pitch) + isa.columns(), |scratch| {
        let (sums, transformed) = scratch.split_at_mut(sums);
        let (a, b) = transformed.split_at_mut(POINTS * a_pitch);
        let chunks = rows.div_ceil(chunk);
        for index in 0..chunks {
            let rows = part(rows, chunks, index);
            let (to_a, to_b) = (Shared::new(a), Shared::new(b));
            let parts = rows.len().div_ceil(ROWS);
            for_each(parts, |task| {
                let part = part(rows.len(), parts, task);
                let rows = rows.start + part.start..rows.start + part.end;
                // SAFETY: tasks differ in their rows.
                unsafe {
                    dy.transform::<Spread, SQUARE>(isa, &rows, &to_a, part.start * dy.channels, a_pitch);
                    x.transform::<Input, LINE>(isa, &rows, &to_b, part.start * x.channels, b_pitch);
                }
            });
            let segments = [Segment { a: 0, b: 0, len: rows.len() }];
            let c = Shared::new(sums);
            let panels = x.channels.div_ceil(isa.columns());
            for_each(POINTS * panels, |task| {
                let (point, panel) = (task / panels, task % panels);
                let columns = panel * isa.columns()..((panel + 1) * isa.columns()).min(x.channels);
                for tile in 0..dy.channels.div_ceil(isa.rows()) {
                    let rows = tile_rows(dy.channels, isa.rows(), tile);
                    let c = c.pointer((point * dy.channels + rows.start) * x.channels + columns.start);
                    let tile = Tile {
                        c,
                        c_stride: x.channels,
                        onto: if index == 0 { std::ptr::null() } else { c.cast_const() },
                        bias: std::ptr::null(),
                        a: a[point * a_pitch + rows.start..].as_ptr(),
                        b: b[point * b_pitch + columns.start..].as_ptr(),
                        operands: Operands::Terms { a: dy.channels, b: x.channels },
                        segments: &segments,
                        rows: rows.len(),
                        columns: columns.len(),
                    };
                    // SAFETY: both operands hold the rows of this chunk, and b one vector more. Tasks differ in point
                    // or columns.
                    unsafe { tile::tile::<f32, f32>(isa, &tile) };
                }
            });
        }
        add_weight_gradient(isa, dw, sums, dy.channels, x.channels);
    });
}

/// The distance in floats between the runs of successive points: one cache line more than a run, so that the points
/// do not share the same few sets of the caches.
fn pitch(len: usize) -> usize {
    len.next_multiple_of(16) + 16
}

/// The squares of a map; the last ones may extend beyond it.
struct Squares {
    images: usize,
    height: usize,
    width: usize,
    across: usize,
    count: usize,
}

impl Squares {
    fn new(shape: &ConvShape) -> Self {
        let &ConvShape { batch: images, height, width, .. } = shape;
        let across = width.div_ceil(SQUARE);
        Self { images, height, width, across, count: height.div_ceil(SQUARE) * across }
    }

    /// The number of rows. A row is one image at one square.
    fn rows(&self) -> usize {
        self.count * self.images
    }

    /// The runs of images at one square that rows consist of: the square, the images, and the index of the run's
    /// first row.
    fn runs(&self, rows: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, usize)> + use<> {
        let (images, rows) = (self.images, rows.clone());
        (rows.start / images..rows.end.div_ceil(images)).map(move |square| {
            let first = rows.start.max(square * images);
            let end = rows.end.min((square + 1) * images);
            (square, first - square * images..end - square * images, first - rows.start)
        })
    }

    /// The positions of a square: its outputs (`SQUARE`), or its inputs, which are the outputs and the ring around
    /// them (`LINE`). `None` outside the map.
    fn positions<const SIDE: usize>(&self, square: usize) -> [[Option<usize>; SIDE]; SIDE] {
        let (top, left) = (SQUARE * (square / self.across), SQUARE * (square % self.across));
        let ring = (SIDE - SQUARE) / 2;
        grid(|row, column| {
            let y = (top + row).checked_sub(ring).filter(|&y| y < self.height)?;
            let x = (left + column).checked_sub(ring).filter(|&x| x < self.width)?;
            Some(y * self.width + x)
        })
    }
}

fn grid<T: Copy, const SIDE: usize>(each: impl Fn(usize, usize) -> T) -> [[T; SIDE]; SIDE] {
    let mut grid = [[each(0, 0); SIDE]; SIDE];
    for (index, cell) in grid.as_flattened_mut().iter_mut().enumerate() {
        *cell = each(index / SIDE, index % SIDE);
    }
    grid
}

/// A feature map that is read square by square.
struct Map<'a, E> {
    elements: &'a [E],
    channels: usize,
    squares: &'a Squares,
}

impl<E: Element> Map<'_, E> {
    /// Transforms rows. Writes the rows of each point `pitch` floats after those of the previous point, from `start`
    /// on.
    ///
    /// # Safety
    /// No other task may access these elements during the call.
    unsafe fn transform<T: Transform<SIDE, LINE>, const SIDE: usize>(
        &self,
        isa: Isa,
        rows: &Range<usize>,
        to: &Shared<f32>,
        start: usize,
        pitch: usize,
    ) {
        let &Self { elements, channels, squares } = self;
        let zeros = vec![E::default(); rows.len().min(squares.images) * channels];
        assert!(start + (POINTS - 1) * pitch + rows.len() * channels <= to.len(), "winograd: the rows do not fit");
        for (square, images, first) in squares.runs(rows) {
            let len = images.len() * channels;
            let positions = squares.positions::<SIDE>(square);
            let from = grid(|row, column| match positions[row][column] {
                Some(position) => &elements[(position * squares.images + images.start) * channels..][..len],
                None => &zeros[..len],
            });
            let first = start + first * channels;
            let to = grid(|row, column| to.pointer(first + (row * LINE + column) * pitch));
            // SAFETY: `len` elements follow each start, and the caller guarantees that no other task accesses them.
            unsafe { transform::<T, E, f32, SIDE, LINE>(isa, &from, &to, None) };
        }
    }
}

/// The addend of the outputs.
#[derive(Clone, Copy)]
enum Onto<'a, E> {
    Nothing,
    /// A map of the same shape.
    Map(&'a [E]),
    /// (N, C), the same at every position.
    Position(&'a [E]),
}

/// `out` = `input` * the kernel of `weights`, whose taps are taken in the order of `tap`, [+ onto]. `columns` is the
/// number of output channels.
fn convolve<E: Element>(
    out: &mut [E],
    input: &Map<E>,
    onto: Onto<E>,
    weights: Weights,
    tap: impl Fn(usize) -> usize + Sync,
    columns: usize,
) {
    let isa = isa();
    let &Map { channels: inner, squares, .. } = input;
    let rows = squares.rows();
    let cut = |taps| Cut::new(isa, &Gathered { images: rows, positions: 1, columns, taps, inner }, inner);
    let (of_taps, cut) = (cut(TAPS * TAPS), cut(POINTS));
    // Blocks consist of whole tiles, so that only the last block has smaller ones.
    let tiles = rows.div_ceil(isa.rows());
    let of_block = (BLOCK / (POINTS * inner.max(columns) * isa.rows())).max(2);
    let blocks = tiles.div_ceil(of_block);
    let out = Shared::new(out);
    with_transformed_weights(&of_taps, &cut, weights, tap, |u| {
        for_each(blocks, |block| {
            let tiles = part(tiles, blocks, block);
            let rows = tiles.start * isa.rows()..(tiles.end * isa.rows()).min(rows);
            let pitch = pitch(rows.len() * inner.max(columns));
            // The products of a point overwrite the inputs of the previous point.
            with_scratch((POINTS + 1) * pitch, |scratch| {
                // SAFETY: the scratch belongs to this task.
                unsafe { input.transform::<Input, LINE>(isa, &rows, &Shared::new(scratch), pitch, pitch) };
                multiply(&cut, scratch, u, rows.len(), columns, pitch);
                // SAFETY: tasks differ in their rows.
                unsafe { write_outputs(isa, &out, onto, scratch, squares, &rows, columns, pitch) };
            });
        });
    });
}

/// m (rows, columns) = v (rows, inner) u, for each point; m lies `pitch` floats before v.
fn multiply(cut: &Cut, scratch: &mut [f32], u: &[f32], rows: usize, columns: usize, pitch: usize) {
    let &Cut { isa, inner, .. } = cut;
    assert!(rows * inner.max(columns) <= pitch && scratch.len() == (POINTS + 1) * pitch, "winograd: sizes do not fit");
    let scratch = Shared::new(scratch);
    for point in 0..POINTS {
        let segments = [Segment { a: 0, b: point * inner, len: inner }];
        for panel in 0..cut.panels {
            let range = cut.columns(panel);
            for tile in 0..rows.div_ceil(isa.rows()) {
                let rows = tile_rows(rows, isa.rows(), tile);
                let tile = Tile {
                    c: scratch.pointer(point * pitch + rows.start * columns + range.start),
                    c_stride: columns,
                    onto: std::ptr::null(),
                    bias: std::ptr::null(),
                    a: scratch.pointer((point + 1) * pitch + rows.start * inner).cast_const(),
                    b: u[panel * cut.panel_units..].as_ptr(),
                    operands: Operands::Rows { stride: inner },
                    segments: &segments,
                    rows: rows.len(),
                    columns: range.len(),
                };
                // SAFETY: as asserted above, `inner` floats follow the start of each row of v, and m lies before
                // them; u holds `POINTS` taps of each panel.
                unsafe { tile::tile::<f32, f32>(isa, &tile) };
            }
        }
    }
}

/// Writes the outputs of rows: Aᵀ m A [+ onto].
///
/// # Safety
/// No other task may access these outputs during the call.
#[expect(clippy::too_many_arguments, reason = "all parts of a block")]
unsafe fn write_outputs<E: Element>(
    isa: Isa,
    out: &Shared<E>,
    onto: Onto<E>,
    m: &[f32],
    squares: &Squares,
    rows: &Range<usize>,
    columns: usize,
    pitch: usize,
) {
    // A buffer for outputs outside the map, which are discarded.
    let mut waste = vec![E::default(); rows.len().min(squares.images) * columns];
    let waste = waste.as_mut_ptr();
    for (square, images, first) in squares.runs(rows) {
        let len = images.len() * columns;
        let from = grid(|row, column| &m[(row * LINE + column) * pitch + first * columns..][..len]);
        let positions = squares.positions::<SQUARE>(square);
        let places: [[Option<usize>; SQUARE]; SQUARE] =
            grid(|row, column| Some((positions[row][column]? * squares.images + images.start) * columns));
        assert!(places.iter().flatten().flatten().all(|place| place + len <= out.len()), "winograd: sizes do not fit");
        let to = grid(|row, column| match places[row][column] {
            Some(place) => out.pointer(place),
            None => waste,
        });
        let onto = match onto {
            Onto::Nothing => None,
            Onto::Map(onto) => Some(grid(|row, column| match places[row][column] {
                Some(place) => onto[place..][..len].as_ptr(),
                None => waste.cast_const(),
            })),
            Onto::Position(onto) => Some(grid(|_, _| onto[images.start * columns..][..len].as_ptr())),
        };
        // SAFETY: `len` outputs follow each start, and squares do not overlap.
        unsafe { transform::<Output, f32, E, LINE, SQUARE>(isa, &from, &to, onto.as_ref()) };
    }
}

/// Calls `body` with u = G g Gᵀ of the weights, packed like weights of `POINTS` taps.
fn with_transformed_weights(
    of_taps: &Cut,
    cut: &Cut,
    weights: Weights,
    tap: impl Fn(usize) -> usize + Sync,
    body: impl FnOnce(&[f32]),
) {
    let &Cut { isa, inner, panels, .. } = cut;
    with_scratch(panels * cut.panel_units, |u| {
        with_scratch(panels * of_taps.panel_units, |packed| {
            product::pack_weights::<f32>(of_taps, packed, weights);
            let (packed, to) = (&*packed, Shared::new(u));
            let parts = (inner / 64).max(1);
            for_each(panels * parts, |task| {
                let (panel, rows) = (task / parts, part(inner, parts, task % parts));
                let width = isa.width(cut.columns(panel).len());
                let start = |panel_units: usize, tap: usize| panel * panel_units + (tap * inner + rows.start) * width;
                let from = grid(|row, column| {
                    &packed[start(of_taps.panel_units, tap(row * TAPS + column))..][..rows.len() * width]
                });
                let to = grid(|row, column| to.pointer(start(cut.panel_units, row * LINE + column)));
                // SAFETY: a panel has these rows for each point; tasks differ in their panel or rows.
                unsafe { transform::<Taps, f32, f32, TAPS, LINE>(isa, &from, &to, None) };
            });
        });
        body(u);
    });
}

/// dw (O, 9, I) += Gᵀ s G of sums s (POINTS, O, I).
fn add_weight_gradient(isa: Isa, dw: &mut [f32], sums: &[f32], outputs: usize, channels: usize) {
    assert!(dw.len() == outputs * TAPS * TAPS * channels, "winograd: sizes do not fit");
    let dw = Shared::new(dw);
    let parts = outputs.min((sums.len() / (64 * 1024)).max(1));
    for_each(parts, |task| {
        for o in part(outputs, parts, task) {
            let from = grid(|row, column| &sums[((row * LINE + column) * outputs + o) * channels..][..channels]);
            let to = grid(|row, column| dw.pointer(((o * TAPS + row) * TAPS + column) * channels));
            let onto = grid(|row, column| to[row][column].cast_const());
            // SAFETY: tasks differ in their output channels.
            unsafe { transform::<TapGradients, f32, f32, LINE, TAPS>(isa, &from, &to, Some(&onto)) };
        }
    });
}

/// A linear map of lines of numbers. Applied to the columns and then to the rows, it maps a square of FROM x FROM
/// numbers to one of TO x TO.
trait Transform<const FROM: usize, const TO: usize> {
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn apply<V: Vector>(d: [V; FROM]) -> [V; TO];
}

/// Bᵀ, applied to inputs.
struct Input;

/// A, applied to gradients of outputs.
struct Spread;

/// Aᵀ, applied to products.
struct Output;

/// G, applied to the taps of a kernel.
struct Taps;

/// Gᵀ, applied to the gradients of products.
struct TapGradients;

/// 1 / the product of the differences between a point and the other points, for the points 0, A (or -A) and B
/// (or -B).
const SCALES: [f64; 3] = [1.0 / (A * A * B * B), 0.5 / (A * A * (A * A - B * B)), 0.5 / (B * B * (B * B - A * A))];

impl Transform<LINE, LINE> for Input {
    #[inline(always)]
    unsafe fn apply<V: Vector>(d: [V; LINE]) -> [V; LINE] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            // Row i has the coefficients of the polynomial that is zero at all points except point i.
            let (a, minus_a) =
                both(d[4].add_product(d[2], constant(-B * B)), d[3].add_product(d[1], constant(-B * B)), A);
            let (b, minus_b) =
                both(d[4].add_product(d[2], constant(-A * A)), d[3].add_product(d[1], constant(-A * A)), B);
            [end(d[0], d[2], d[4]), a, minus_a, b, minus_b, end(d[1], d[3], d[5])]
        }
    }
}

impl Transform<SQUARE, LINE> for Spread {
    #[inline(always)]
    unsafe fn apply<V: Vector>(d: [V; SQUARE]) -> [V; LINE] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let (a, minus_a) =
                both(d[0].add_product(d[2], constant(A * A)), d[1].add_product(d[3], constant(A * A)), A);
            let (b, minus_b) =
                both(d[0].add_product(d[2], constant(B * B)), d[1].add_product(d[3], constant(B * B)), B);
            [d[0], a, minus_a, b, minus_b, d[3]]
        }
    }
}

impl Transform<LINE, SQUARE> for Output {
    #[inline(always)]
    unsafe fn apply<V: Vector>(m: [V; LINE]) -> [V; SQUARE] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
            [
                m[0].add(even_a).add(even_b),
                odd_a.mul(constant(A)).add_product(odd_b, constant(B)),
                even_a.mul(constant(A * A)).add_product(even_b, constant(B * B)),
                m[5].add_product(odd_a, constant(A * A * A)).add_product(odd_b, constant(B * B * B)),
            ]
        }
    }
}

impl Transform<TAPS, LINE> for Taps {
    #[inline(always)]
    unsafe fn apply<V: Vector>(g: [V; TAPS]) -> [V; LINE] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let [of_0, of_a, of_b] = SCALES;
            let (a, minus_a) = both(g[0].add_product(g[2], constant(A * A)), g[1], A);
            let (b, minus_b) = both(g[0].add_product(g[2], constant(B * B)), g[1], B);
            let (of_a, of_b) = (constant(of_a), constant(of_b));
            [g[0].mul(constant(of_0)), a.mul(of_a), minus_a.mul(of_a), b.mul(of_b), minus_b.mul(of_b), g[2]]
        }
    }
}

impl Transform<LINE, TAPS> for TapGradients {
    #[inline(always)]
    unsafe fn apply<V: Vector>(u: [V; LINE]) -> [V; TAPS] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let [of_0, of_a, of_b] = SCALES;
            let (even_a, odd_a) = (u[1].add(u[2]), u[1].sub(u[2]));
            let (even_b, odd_b) = (u[3].add(u[4]), u[3].sub(u[4]));
            [
                u[0].mul(constant(of_0)).add_product(even_a, constant(of_a)).add_product(even_b, constant(of_b)),
                odd_a.mul(constant(A * of_a)).add_product(odd_b, constant(B * of_b)),
                u[5].add_product(even_a, constant(A * A * of_a)).add_product(even_b, constant(B * B * of_b)),
            ]
        }
    }
}

#[inline(always)]
unsafe fn constant<V: Vector>(value: f64) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe { V::splat(value as f32) }
}

/// The first and last row of Bᵀ: the points 0 and infinity.
#[inline(always)]
unsafe fn end<V: Vector>(low: V, middle: V, high: V) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe { high.add_product(middle, constant(-(A * A + B * B))).add_product(low, constant(A * A * B * B)) }
}

/// Evaluates a polynomial at a point and at its opposite, given its even part and its odd part divided by the point.
#[inline(always)]
unsafe fn both<V: Vector>(even: V, odd: V, point: f64) -> (V, V) {
    // SAFETY: guaranteed by the caller.
    unsafe { (even.add_product(odd, constant(point)), even.add_product(odd, constant(-point))) }
}

/// Transforms runs of equal length, element by element, and writes them to the runs that start at `to`, each added to
/// its run at `onto` if that is given.
///
/// # Safety
/// Every pointer of `to` must be valid for writes of as many elements as a run has, which no other task accesses, and
/// every pointer of `onto` for as many reads. Two pointers may be equal.
unsafe fn transform<T: Transform<FROM, TO>, E: Element, F: Element, const FROM: usize, const TO: usize>(
    isa: Isa,
    from: &[[&[E]; FROM]; FROM],
    to: &[[*mut F; TO]; TO],
    onto: Option<&[[*const F; TO]; TO]>,
) {
    let len = from[0][0].len();
    assert!(from.iter().flatten().all(|run| run.len() == len), "winograd: runs of different lengths");
    let from = grid(|row, column| from[row][column].as_ptr());
    run(isa, Runs::<T, E, F, FROM, TO> { from, to, onto, len, map: PhantomData });
}

struct Runs<'a, T, E, F, const FROM: usize, const TO: usize> {
    from: [[*const E; FROM]; FROM],
    to: &'a [[*mut F; TO]; TO],
    onto: Option<&'a [[*const F; TO]; TO]>,
    len: usize,
    map: PhantomData<T>,
}

impl<T: Transform<FROM, TO>, E: Element, F: Element, const FROM: usize, const TO: usize> Kernel
    for Runs<'_, T, E, F, FROM, TO>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut start = 0;
        // SAFETY: the caller of `transform` guarantees `len` elements from each pointer on.
        unsafe {
            while start + ABREAST * V::LANES <= self.len {
                self.step::<V, ABREAST>(start, V::LANES);
                start += ABREAST * V::LANES;
            }
            while start < self.len {
                self.step::<V, 1>(start, V::LANES.min(self.len - start));
                start += V::LANES;
            }
        }
    }
}

/// Vectors that are transformed together. The positions of a map's square are often multiples of 4 KiB apart and then
/// share a set of the first-level cache. So a whole cache line, two vectors of 16 bf16, is read, and written, at a
/// time.
const ABREAST: usize = 2;
/// The number of steps by which cache lines are prefetched ahead.
const AHEAD: usize = 4;

impl<T: Transform<FROM, TO>, E: Element, F: Element, const FROM: usize, const TO: usize> Runs<'_, T, E, F, FROM, TO> {
    /// Transforms N vectors from `start` on, of `count` elements each.
    ///
    /// # Safety
    /// The vectors must lie in the runs, with the instruction set of V enabled in the caller.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the compiler does not always inline iterators over vectors")]
    unsafe fn step<V: Vector, const N: usize>(&self, start: usize, count: usize) {
        let mut columns = [[[const { MaybeUninit::<V>::uninit() }; N]; TO]; FROM];
        // SAFETY: guaranteed by the caller; every element of `columns` is written before it is read. These are loops,
        // not closures, because the compiler does not inline a closure with so many vectors into the kernel.
        unsafe {
            for (column, transformed) in columns.iter_mut().enumerate() {
                let mut d = [[V::splat(0.0); FROM]; N];
                for row in 0..FROM {
                    for n in 0..N {
                        d[n][row] = load(self.from[row][column].add(start + n * V::LANES), count);
                    }
                    fetch(self.from[row][column].wrapping_add(start + AHEAD * N * V::LANES), N * V::LANES);
                }
                for n in 0..N {
                    let values = T::apply(d[n]);
                    for place in 0..TO {
                        transformed[place][n].write(values[place]);
                    }
                }
            }
            for row in 0..TO {
                let mut rows = [[V::splat(0.0); TO]; N];
                for n in 0..N {
                    let mut d = [V::splat(0.0); FROM];
                    for column in 0..FROM {
                        d[column] = columns[column][row][n].assume_init();
                    }
                    rows[n] = T::apply(d);
                }
                for column in 0..TO {
                    for n in 0..N {
                        let (at, mut value) = (start + n * V::LANES, rows[n][column]);
                        if let Some(onto) = self.onto {
                            value = value.add(load(onto[row][column].add(at), count));
                        }
                        store(self.to[row][column].add(at), value, count);
                    }
                    // Outputs go to a map. Everything else goes to scratch memory that is in the cache.
                    if TO == SQUARE {
                        fetch(self.to[row][column].wrapping_add(start + AHEAD * N * V::LANES), N * V::LANES);
                    }
                }
            }
        }
    }
}

/// Prefetches the cache lines of a run, which need not be valid.
#[inline(always)]
fn fetch<E>(run: *const E, len: usize) {
    (0..len).step_by(64 / size_of::<E>()).for_each(|at| vector::fetch_to_second_level(run.wrapping_add(at)));
}

/// # Safety
/// As for `Element::load_first`.
#[inline(always)]
unsafe fn load<V: Vector, E: Element>(from: *const E, count: usize) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe { if count == V::LANES { E::load(from) } else { E::load_first(from, count) } }
}

/// # Safety
/// As for `Element::store_first`.
#[inline(always)]
unsafe fn store<V: Vector, E: Element>(to: *mut E, vector: V, count: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { if count == V::LANES { E::store(to, vector) } else { E::store_first(to, vector, count) } }
}
