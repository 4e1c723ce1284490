//! 3x3 convolutions of stride 1 and padding 1 in f32 by Winograd's minimal filtering F(2x2, 3x3): Lavin and Gray 2016,
//! "Fast Algorithms for Convolutional Neural Networks", <https://arxiv.org/abs/1509.09308>.
//!
//!   y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A    for each square of 2x2 outputs, d being the 4x4 inputs that it draws on
//!
//! Sixteen products of matrices (squares and images, channels) take the place of nine at four positions: 2.25 times
//! fewer multiplications, for transforms whose cost grows with the channels only. All constants are 0, 1 and 1/2, so the
//! error stays within a few times that of the direct method; in bf16, where the transformed numbers would be rounded
//! again, it would not, and the direct method is used. The batch is inside, so a transform is element by element over
//! whole runs of memory.

use std::marker::PhantomData;
use std::ops::Range;

use super::Isa;
use super::conv2d::Conv2d;
use super::conv2d::Layout;
use super::isa;
use super::pack;
use super::pack::Panel;
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
use super::tile::PANEL;
use super::tile::Segment;
use super::tile::Tile;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// Numbers of a transformed square.
const POINTS: usize = 16;
/// Floats of both sides that a task transforms at a time: half of a common second-level cache.
const BLOCK: usize = 128 * 1024;
/// Floats of both sides that are transformed at a time for a weight gradient: they stay in the third-level cache.
const CHUNK: usize = 2 * 1024 * 1024;

/// Whether a convolution of these sizes is one for this method: sides are even, and padding is not most of the image.
pub fn applies<E: Element>(shape: &Conv2d) -> bool {
    let &Conv2d { layout, height, width, kernel, stride, padding, in_channels, out_channels, .. } = shape;
    let even = height % 2 == 0 && width % 2 == 0 && height.min(width) >= 4;
    let many = in_channels.min(out_channels) >= 32;
    E::TERMS == 1 && layout == Layout::Maps && (kernel, stride, padding) == (3, 1, 1) && even && many
}

/// y = x * w.
pub fn forward<E: Element>(y: &mut [E], x: &[E], w: &[f32], shape: &Conv2d) {
    let &Conv2d { in_channels, out_channels, .. } = shape;
    with_transformed_weights(w, shape, false, |u| {
        convolve(y, x, None, Weights::Transposed(u), shape, in_channels, out_channels);
    });
}

/// dx = the gradient of x, added to `onto` where it is given: the convolution of dy with the kernel turned round.
pub fn input_gradient<E: Element>(dx: &mut [E], dy: &[E], w: &[f32], onto: Option<&[E]>, shape: &Conv2d) {
    let &Conv2d { in_channels, out_channels, .. } = shape;
    with_transformed_weights(w, shape, true, |u| {
        convolve(dx, dy, onto, Weights::Straight(u), shape, out_channels, in_channels);
    });
}

/// dw += the gradient of w: Gᵀ [ sum over squares and images of (A dy Aᵀ) ⊙ (Bᵀ x B) ] G.
pub fn weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], shape: &Conv2d) {
    let &Conv2d { in_channels, out_channels, .. } = shape;
    let isa = isa();
    let squares = Squares::new(shape);
    let rows = squares.count * shape.batch;
    let (row_tiles, panels) = (out_channels.div_ceil(isa.rows()), in_channels.div_ceil(isa.columns()));
    let chunk = (CHUNK / (POINTS * (in_channels + out_channels))).clamp(64, rows.max(64));
    let (a_units, b_units) = (row_tiles * chunk * isa.lanes(), panels * chunk * isa.columns());
    let sums = POINTS * out_channels * in_channels;
    with_scratch(sums + POINTS * (a_units + b_units), |scratch| {
        let (sums, packed) = scratch.split_at_mut(sums);
        let (packed_a, packed_b) = packed.split_at_mut(POINTS * a_units);
        sums.fill(0.0);
        let chunks = rows.div_ceil(chunk);
        for index in 0..chunks {
            let rows = part(rows, chunks, index);
            let (a, b) = (Shared::new(packed_a), Shared::new(packed_b));
            let parts = rows.len().div_ceil(48);
            for_each(parts, |task| {
                let part = part(rows.len(), parts, task);
                let rows = rows.start + part.start..rows.start + part.end;
                let a_panel = |tile: usize| Panel {
                    first: tile_rows(out_channels, isa.rows(), tile).start,
                    start: tile * chunk * isa.lanes(),
                    pitch: isa.lanes(),
                };
                let b_panel = |panel: usize| {
                    let first = panel * isa.columns();
                    let pitch = isa.width((in_channels - first).min(isa.columns()));
                    Panel { first, start: panel * chunk * isa.columns(), pitch }
                };
                let a_panels: Vec<Panel> = (0..row_tiles).map(a_panel).collect();
                let b_panels: Vec<Panel> = (0..panels).map(b_panel).collect();
                pack_transformed::<E, Spread>(
                    isa,
                    &a,
                    a_units,
                    &a_panels,
                    dy,
                    out_channels,
                    &squares,
                    &rows,
                    part.start,
                );
                pack_transformed::<E, Input>(isa, &b, b_units, &b_panels, x, in_channels, &squares, &rows, part.start);
            });
            let segments = [Segment { a: 0, b: 0, len: rows.len() }];
            let c = Shared::new(sums);
            for_each(POINTS * panels, |task| {
                let (point, panel) = (task / panels, task % panels);
                let columns = panel * isa.columns()..((panel + 1) * isa.columns()).min(in_channels);
                for tile in 0..row_tiles {
                    let rows = tile_rows(out_channels, isa.rows(), tile);
                    let c = c.pointer((point * out_channels + rows.start) * in_channels + columns.start);
                    let tile = Tile {
                        c,
                        c_stride: in_channels,
                        onto: c.cast_const(),
                        bias: std::ptr::null(),
                        a: packed_a[point * a_units + tile * chunk * isa.lanes()..].as_ptr(),
                        a_stride: PANEL,
                        b: packed_b[point * b_units + panel * chunk * isa.columns()..].as_ptr(),
                        segments: &segments,
                        rows: rows.len(),
                        columns: columns.len(),
                    };
                    // SAFETY: the panels hold the rows of this chunk; tasks differ in point or columns.
                    unsafe { tile::tile::<f32, f32>(isa, &tile) };
                }
            });
        }
        add_weight_gradient(isa, dw, sums, out_channels, in_channels);
    });
}

/// The squares of 2x2 positions of a map.
struct Squares {
    images: usize,
    height: usize,
    width: usize,
    across: usize,
    count: usize,
}

impl Squares {
    fn new(shape: &Conv2d) -> Self {
        let &Conv2d { batch: images, height, width, .. } = shape;
        Self { images, height, width, across: width / 2, count: height / 2 * (width / 2) }
    }

    /// The runs of images at one square that rows (square, image) are made of, each with its first row.
    fn runs(&self, rows: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, usize)> + use<> {
        let (images, rows) = (self.images, rows.clone());
        (rows.start / images..rows.end.div_ceil(images)).map(move |square| {
            let first = rows.start.max(square * images);
            let end = rows.end.min((square + 1) * images);
            (square, first - square * images..end - square * images, first - rows.start)
        })
    }

    /// The positions of a square's 4x4 inputs; none in the padding.
    fn inputs(&self, square: usize) -> [Option<usize>; POINTS] {
        let (top, left) = (2 * (square / self.across), 2 * (square % self.across));
        std::array::from_fn(|point| {
            let y = (top + point / 4).checked_sub(1).filter(|&y| y < self.height)?;
            let x = (left + point % 4).checked_sub(1).filter(|&x| x < self.width)?;
            Some(y * self.width + x)
        })
    }

    /// The positions of a square's 2x2 outputs.
    fn outputs(&self, square: usize) -> [usize; 4] {
        let (top, left) = (2 * (square / self.across), 2 * (square % self.across));
        std::array::from_fn(|place| (top + place / 2) * self.width + left + place % 2)
    }
}

/// `out` = `input` * u [+ onto], with `inner` and `columns` channels; u holds `POINTS` taps.
fn convolve<E: Element>(
    out: &mut [E],
    input: &[E],
    onto: Option<&[E]>,
    u: Weights,
    shape: &Conv2d,
    inner: usize,
    columns: usize,
) {
    let isa = isa();
    let squares = Squares::new(shape);
    let rows = squares.count * shape.batch;
    let sizes = Gathered { images: rows, positions: 1, columns, taps: POINTS, inner };
    let cut = Cut::new(isa, &sizes, inner);
    // Whole tiles, so that only the last block has smaller ones.
    let block = (BLOCK / (POINTS * (inner + columns)) / isa.rows()).max(2) * isa.rows();
    let out = Shared::new(out);
    with_scratch(cut.panels * cut.panel_units, |packed| {
        product::pack_weights::<E>(&cut, packed, u);
        for_each(rows.div_ceil(block), |task| {
            let rows = task * block..((task + 1) * block).min(rows);
            with_scratch(POINTS * rows.len() * (inner + columns), |scratch| {
                let (v, m) = scratch.split_at_mut(POINTS * rows.len() * inner);
                for (square, images, first) in squares.runs(&rows) {
                    let from = Input::sources(input, inner, &squares, square, &images);
                    let to = Shared::new(&mut v[first * inner..]);
                    transform::<E, Input>(isa, &from, &to, rows.len() * inner, images.len() * inner);
                }
                multiply(&cut, m, v, packed, rows.len());
                for (square, images, first) in squares.runs(&rows) {
                    let places = squares.outputs(square).map(|p| (p * squares.images + images.start) * columns);
                    let len = images.len() * columns;
                    run(
                        isa,
                        Output { m: &m[first * columns..], stride: rows.len() * columns, out: &out, onto, places, len },
                    );
                }
            });
        });
    });
}

/// m (points, rows, columns) = v (points, rows, inner) b.
fn multiply(cut: &Cut, m: &mut [f32], v: &[f32], packed: &[f32], rows: usize) {
    let &Cut { isa, inner, .. } = cut;
    let columns = m.len() / (POINTS * rows);
    let m = Shared::new(m);
    for point in 0..POINTS {
        let segments = [Segment { a: 0, b: point * inner, len: inner }];
        for panel in 0..cut.panels {
            let range = cut.columns(panel);
            for tile in 0..rows.div_ceil(isa.rows()) {
                let rows_of_tile = tile_rows(rows, isa.rows(), tile);
                let row = point * rows + rows_of_tile.start;
                let tile = Tile {
                    c: m.pointer(row * columns + range.start),
                    c_stride: columns,
                    onto: std::ptr::null(),
                    bias: std::ptr::null(),
                    a: v[row * inner..].as_ptr(),
                    a_stride: inner,
                    b: packed[panel * cut.panel_units..].as_ptr(),
                    segments: &segments,
                    rows: rows_of_tile.len(),
                    columns: range.len(),
                };
                // SAFETY: v has `inner` floats behind each row, and packed holds `POINTS` taps of each panel.
                unsafe { tile::tile::<f32, f32>(isa, &tile) };
            }
        }
    }
}

/// A linear map of some runs of memory, element by element, to `POINTS` runs of floats.
trait Transform {
    /// Runs that it takes.
    const SOURCES: usize;
    /// Where the runs of some images at a square begin; none for those that are zero.
    fn sources<'a, E>(
        map: &'a [E],
        channels: usize,
        squares: &Squares,
        square: usize,
        images: &Range<usize>,
    ) -> [Option<&'a [E]>; POINTS];
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn apply<V: Vector>(d: &[V; POINTS]) -> [V; POINTS];
}

/// Bᵀ d B: of a square's 4x4 inputs.
struct Input;

/// A d Aᵀ: of the gradients of a square's 2x2 outputs.
struct Spread;

impl Transform for Input {
    const SOURCES: usize = POINTS;

    fn sources<'a, E>(
        map: &'a [E],
        channels: usize,
        squares: &Squares,
        square: usize,
        images: &Range<usize>,
    ) -> [Option<&'a [E]>; POINTS] {
        squares.inputs(square).map(|position| {
            let start = (position? * squares.images + images.start) * channels;
            Some(&map[start..][..images.len() * channels])
        })
    }

    #[inline(always)]
    unsafe fn apply<V: Vector>(d: &[V; POINTS]) -> [V; POINTS] {
        // SAFETY: the caller's.
        unsafe {
            let c = [
                bt(d[0], d[4], d[8], d[12]),
                bt(d[1], d[5], d[9], d[13]),
                bt(d[2], d[6], d[10], d[14]),
                bt(d[3], d[7], d[11], d[15]),
            ];
            rows_of(
                bt(c[0][0], c[1][0], c[2][0], c[3][0]),
                bt(c[0][1], c[1][1], c[2][1], c[3][1]),
                bt(c[0][2], c[1][2], c[2][2], c[3][2]),
                bt(c[0][3], c[1][3], c[2][3], c[3][3]),
            )
        }
    }
}

impl Transform for Spread {
    const SOURCES: usize = 4;

    fn sources<'a, E>(
        map: &'a [E],
        channels: usize,
        squares: &Squares,
        square: usize,
        images: &Range<usize>,
    ) -> [Option<&'a [E]>; POINTS] {
        let mut sources = [None; POINTS];
        for (source, position) in sources.iter_mut().zip(squares.outputs(square)) {
            let start = (position * squares.images + images.start) * channels;
            *source = Some(&map[start..][..images.len() * channels]);
        }
        sources
    }

    #[inline(always)]
    unsafe fn apply<V: Vector>(d: &[V; POINTS]) -> [V; POINTS] {
        // SAFETY: the caller's.
        unsafe {
            let (c0, c1) = (a(d[0], d[2]), a(d[1], d[3]));
            rows_of(a(c0[0], c1[0]), a(c0[1], c1[1]), a(c0[2], c1[2]), a(c0[3], c1[3]))
        }
    }
}

/// Bᵀ of a column.
#[inline(always)]
unsafe fn bt<V: Vector>(d0: V, d1: V, d2: V, d3: V) -> [V; 4] {
    unsafe { [d0.sub(d2), d1.add(d2), d2.sub(d1), d1.sub(d3)] }
}

/// A of a column.
#[inline(always)]
unsafe fn a<V: Vector>(d0: V, d1: V) -> [V; 4] {
    unsafe { [d0, d0.add(d1), d0.sub(d1), V::splat(0.0).sub(d1)] }
}

/// Aᵀ of a column.
#[inline(always)]
unsafe fn at<V: Vector>(m0: V, m1: V, m2: V, m3: V) -> [V; 2] {
    unsafe { [m0.add(m1).add(m2), m1.sub(m2).sub(m3)] }
}

/// G of a column.
#[inline(always)]
unsafe fn g<V: Vector>(g0: V, g1: V, g2: V) -> [V; 4] {
    unsafe {
        let half = V::splat(0.5);
        let outer = g0.add(g2);
        [g0, outer.add(g1).mul(half), outer.sub(g1).mul(half), g2]
    }
}

/// Gᵀ of a column.
#[inline(always)]
unsafe fn gt<V: Vector>(u0: V, u1: V, u2: V, u3: V) -> [V; 3] {
    unsafe {
        let half = V::splat(0.5);
        let sum = u1.add(u2).mul(half);
        [u0.add(sum), u1.sub(u2).mul(half), u3.add(sum)]
    }
}

#[inline(always)]
fn rows_of<V: Copy>(r0: [V; 4], r1: [V; 4], r2: [V; 4], r3: [V; 4]) -> [V; POINTS] {
    [r0[0], r0[1], r0[2], r0[3], r1[0], r1[1], r1[2], r1[3], r2[0], r2[1], r2[2], r2[3], r3[0], r3[1], r3[2], r3[3]]
}

/// Writes the transformed runs, `len` elements each, `stride` floats apart.
fn transform<E: Element, T: Transform>(
    isa: Isa,
    from: &[Option<&[E]>; POINTS],
    to: &Shared<f32>,
    stride: usize,
    len: usize,
) {
    assert!(from.iter().flatten().all(|run| run.len() == len) && (POINTS - 1) * stride + len <= to.len());
    run(isa, Transformation::<E, T> { from, to, stride, len, map: PhantomData });
}

struct Transformation<'a, E, T> {
    from: &'a [Option<&'a [E]>; POINTS],
    to: &'a Shared<f32>,
    stride: usize,
    len: usize,
    map: PhantomData<T>,
}

impl<E: Element, T: Transform> Kernel for Transformation<'_, E, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for start in (0..self.len).step_by(V::LANES) {
            let count = (self.len - start).min(V::LANES);
            // SAFETY: `transform` checked the lengths of all runs.
            unsafe {
                let mut d = [V::splat(0.0); POINTS];
                for (d, from) in d.iter_mut().zip(self.from).take(T::SOURCES) {
                    if let Some(from) = from {
                        *d = load(from.as_ptr().add(start), count);
                    }
                }
                let to = self.to.pointer(start);
                for (point, value) in T::apply(&d).into_iter().enumerate() {
                    store(to.add(point * self.stride), value, count);
                }
            }
        }
    }
}

/// Transforms rows (square, image) of a map and packs them, as rows `first_row` and on of every point's panels, which lie
/// `units` after those of the last point.
#[allow(clippy::too_many_arguments)]
fn pack_transformed<E: Element, T: Transform>(
    isa: Isa,
    packed: &Shared<f32>,
    units: usize,
    panels: &[Panel],
    map: &[E],
    channels: usize,
    squares: &Squares,
    rows: &Range<usize>,
    first_row: usize,
) {
    with_scratch(POINTS * rows.len() * channels, |scratch| {
        for (square, images, first) in squares.runs(rows) {
            let from = T::sources(map, channels, squares, square, &images);
            let to = Shared::new(&mut scratch[first * channels..]);
            transform::<E, T>(isa, &from, &to, rows.len() * channels, images.len() * channels);
        }
        for (point, transformed) in scratch.chunks_exact(rows.len() * channels).enumerate() {
            let of_point = |&Panel { first, start, pitch }: &Panel| Panel {
                first,
                start: point * units + start + first_row * pitch,
                pitch,
            };
            let panels: Vec<Panel> = panels.iter().map(of_point).collect();
            // SAFETY: tasks differ in their rows.
            unsafe {
                pack::rows::<f32, f32>(isa, packed, &panels, rows.len(), |row| {
                    &transformed[row * channels..][..channels]
                });
            }
        }
    });
}

/// Aᵀ m A [+ onto], written to the outputs of a square.
struct Output<'a, E> {
    m: &'a [f32],
    stride: usize,
    out: &'a Shared<E>,
    onto: Option<&'a [E]>,
    places: [usize; 4],
    len: usize,
}

impl<E: Element> Kernel for Output<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        assert!((POINTS - 1) * self.stride + self.len <= self.m.len());
        assert!(self.places.iter().all(|place| place + self.len <= self.out.len()));
        for start in (0..self.len).step_by(V::LANES) {
            let count = (self.len - start).min(V::LANES);
            // SAFETY: the lengths were just checked, and squares do not overlap.
            unsafe {
                let mut m = [V::splat(0.0); POINTS];
                for (point, m) in m.iter_mut().enumerate() {
                    *m = load(self.m.as_ptr().add(point * self.stride + start), count);
                }
                let c = [
                    at(m[0], m[4], m[8], m[12]),
                    at(m[1], m[5], m[9], m[13]),
                    at(m[2], m[6], m[10], m[14]),
                    at(m[3], m[7], m[11], m[15]),
                ];
                let top = at(c[0][0], c[1][0], c[2][0], c[3][0]);
                let bottom = at(c[0][1], c[1][1], c[2][1], c[3][1]);
                for (value, place) in [top[0], top[1], bottom[0], bottom[1]].into_iter().zip(self.places) {
                    let value = match self.onto {
                        Some(onto) => value.add(load(onto[place..][..self.len].as_ptr().add(start), count)),
                        None => value,
                    };
                    store(self.out.pointer(place + start), value, count);
                }
            }
        }
    }
}

/// Lends `body` u (O, POINTS, I) = G g Gᵀ of w (O, 9, I), with the kernel turned round where `turned`.
fn with_transformed_weights(w: &[f32], shape: &Conv2d, turned: bool, body: impl FnOnce(&[f32])) {
    let isa = isa();
    let &Conv2d { in_channels: channels, out_channels, .. } = shape;
    with_scratch(out_channels * POINTS * channels, |u| {
        let shared = Shared::new(u);
        let parts = out_channels.min((w.len() / (32 * 1024)).max(1));
        for_each(parts, |task| {
            for o in part(out_channels, parts, task) {
                // SAFETY: tasks differ in their output channels.
                let u = unsafe { shared.slice(o * POINTS * channels, POINTS * channels) };
                run(isa, Kernels { u, w: &w[o * 9 * channels..][..9 * channels], channels, turned });
            }
        });
        body(u);
    });
}

struct Kernels<'a> {
    u: &'a mut [f32],
    w: &'a [f32],
    channels: usize,
    turned: bool,
}

impl Kernel for Kernels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { u, w, channels, turned } = self;
        assert!(w.len() == 9 * channels && u.len() == POINTS * channels);
        for start in (0..channels).step_by(V::LANES) {
            let count = (channels - start).min(V::LANES);
            // SAFETY: `count` floats lie behind each tap's and each point's start.
            unsafe {
                let mut k = [V::splat(0.0); 9];
                for (tap, k) in k.iter_mut().enumerate() {
                    let tap = if turned { 8 - tap } else { tap };
                    *k = load(w.as_ptr().add(tap * channels + start), count);
                }
                let c = [g(k[0], k[3], k[6]), g(k[1], k[4], k[7]), g(k[2], k[5], k[8])];
                let points = rows_of(
                    g(c[0][0], c[1][0], c[2][0]),
                    g(c[0][1], c[1][1], c[2][1]),
                    g(c[0][2], c[1][2], c[2][2]),
                    g(c[0][3], c[1][3], c[2][3]),
                );
                for (point, value) in points.into_iter().enumerate() {
                    store(u.as_mut_ptr().add(point * channels + start), value, count);
                }
            }
        }
    }
}

/// dw (O, 9, I) += Gᵀ s G of sums s (POINTS, O, I).
fn add_weight_gradient(isa: Isa, dw: &mut [f32], sums: &[f32], outputs: usize, channels: usize) {
    let shared = Shared::new(dw);
    let parts = outputs.min((sums.len() / (64 * 1024)).max(1));
    for_each(parts, |task| {
        for o in part(outputs, parts, task) {
            // SAFETY: tasks differ in their output channels.
            let dw = unsafe { shared.slice(o * 9 * channels, 9 * channels) };
            run(isa, KernelGradients { dw, sums: &sums[o * channels..], stride: outputs * channels, channels });
        }
    });
}

struct KernelGradients<'a> {
    dw: &'a mut [f32],
    sums: &'a [f32],
    stride: usize,
    channels: usize,
}

impl Kernel for KernelGradients<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { dw, sums, stride, channels } = self;
        assert!(dw.len() == 9 * channels && (POINTS - 1) * stride + channels <= sums.len());
        for start in (0..channels).step_by(V::LANES) {
            let count = (channels - start).min(V::LANES);
            // SAFETY: `count` floats lie behind each tap's and each point's start.
            unsafe {
                let mut s = [V::splat(0.0); POINTS];
                for (point, s) in s.iter_mut().enumerate() {
                    *s = load(sums.as_ptr().add(point * stride + start), count);
                }
                let c = [
                    gt(s[0], s[4], s[8], s[12]),
                    gt(s[1], s[5], s[9], s[13]),
                    gt(s[2], s[6], s[10], s[14]),
                    gt(s[3], s[7], s[11], s[15]),
                ];
                let rows = [
                    gt(c[0][0], c[1][0], c[2][0], c[3][0]),
                    gt(c[0][1], c[1][1], c[2][1], c[3][1]),
                    gt(c[0][2], c[1][2], c[2][2], c[3][2]),
                ];
                for (tap, value) in rows.into_iter().flatten().enumerate() {
                    let to = dw.as_mut_ptr().add(tap * channels + start);
                    let sum = load::<V, f32>(to, count).add(value);
                    store(to, sum, count);
                }
            }
        }
    }
}

/// # Safety
/// As for `Element::load_first`.
#[inline(always)]
unsafe fn load<V: Vector, E: Element>(from: *const E, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if count == V::LANES { E::load(from) } else { E::load_first(from, count) } }
}

/// # Safety
/// As for `Element::store_first`.
#[inline(always)]
unsafe fn store<V: Vector, E: Element>(to: *mut E, vector: V, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { if count == V::LANES { E::store(to, vector) } else { E::store_first(to, vector, count) } }
}
