//! Multi-head self-attention (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>). For each head of each image, with
//! its queries, keys and values q, k, v (T, D):
//!
//!   y = p v with p = softmax(q kᵀ / √D)
//!
//! Tokens are stored like maps, position by position with the batch inside: qkv (T, N, 3, heads, D), y
//! (T, N, heads, D). The probabilities p (N, heads, T, T) are kept for the backward pass; their rows are padded with
//! zeros to whole units.
//!
//! A head's operands are small, so the task that uses them gathers and packs them. The products use the register
//! tiles of `tile`. Scores and their gradients stay in f32 until softmax has processed them.

use crate::kernels::shapes::AttentionShape;
use std::array;
use std::ops::Range;

use super::check_len;
use super::isa::Isa;
use super::isa::isa;
use super::pack;
use super::pack::Panel;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::tile_rows;
use super::partition::with_scratch;
use super::product::copy_units;
use super::product::elements_mut;
use super::softmax::softmax_rows;
use super::softmax::softmax_rows_backward;
use super::tile;
use super::tile::MOST_COLUMNS;
use super::tile::Operands;
use super::tile::Segment;
use super::tile::Tile;
use super::vector::Element;

/// The minimum number of multiplications of a parallel task, so that it is worth its start-up cost.
const TASK: usize = 1 << 20;

impl AttentionShape {
    /// The number of elements of the probabilities.
    pub fn probabilities_len<E: Element>(&self) -> usize {
        self.batch * self.heads * self.square::<E>()
    }

    /// The number of elements of the probabilities of one head of one image.
    fn square<E: Element>(&self) -> usize {
        self.tokens * self.tokens.next_multiple_of(E::TERMS)
    }

    /// Calls `each` for every head of every image, in parallel.
    fn for_each_head(&self, each: impl Fn(Head) + Sync + Send) {
        let &Self { tokens, batch, heads, width } = self;
        let count = batch * heads;
        let tasks = (2 * count * tokens * tokens * width).div_ceil(TASK).min(count);
        let isa = isa();
        for_each(tasks, |task| {
            for index in part(count, tasks, task) {
                each(Head { isa, shape: *self, index });
            }
        });
    }

    fn check<E>(&self, operation: &str, qkv: &[E], y: &[E], probabilities: &[E])
    where
        E: Element,
    {
        let describe = || format!("{operation} of {self:?}");
        assert!(self.tokens > 0 && self.width > 0, "{}: nothing to attend to", describe());
        check_len(&describe(), "qkv", qkv, 3 * self.output_len());
        check_len(&describe(), "y", y, self.output_len());
        check_len(&describe(), "probabilities", probabilities, self.probabilities_len::<E>());
    }
}

/// Computes y and the probabilities from qkv.
pub fn forward<E: Element>(y: &mut [E], probabilities: &mut [E], qkv: &[E], shape: &AttentionShape) {
    shape.check("attention::forward", qkv, y, probabilities);
    let (y, probabilities) = (Shared::new(y), Shared::new(probabilities));
    let square = shape.square::<E>();
    shape.for_each_head(|head| {
        let start = probabilities.pointer(head.index * square);
        // SAFETY: `check` checked the length, and every head has its own probabilities.
        let p = unsafe { std::slice::from_raw_parts_mut(start, square) };
        head.forward(y.pointer(0), p, qkv);
    });
}

/// Computes dqkv from dy and qkv, with the probabilities of `forward`.
pub fn backward<E: Element>(dqkv: &mut [E], dy: &[E], qkv: &[E], probabilities: &[E], shape: &AttentionShape) {
    shape.check("attention::backward", qkv, dy, probabilities);
    check_len("attention::backward", "dqkv", dqkv, qkv.len());
    let dqkv = Shared::new(dqkv);
    let square = shape.square::<E>();
    shape.for_each_head(|head| {
        head.backward(dqkv.pointer(0), dy, qkv, &probabilities[head.index * square..][..square]);
    });
}

/// One head of one image.
#[derive(Clone, Copy)]
struct Head {
    isa: Isa,
    shape: AttentionShape,
    index: usize,
}

/// The first factor of a product: rows of units, `stride` apart, or panels if there is no stride.
#[derive(Clone, Copy)]
struct Left {
    start: *const f32,
    stride: Option<usize>,
}

impl Head {
    /// Computes p and y = p v.
    fn forward<E: Element>(self, y: *mut E, p: &mut [E], qkv: &[E]) {
        let AttentionShape { tokens, width, .. } = self.shape;
        let lengths = [self.units_len::<E>(), self.units_len::<E>(), self.right_len::<E>(), self.scores_len()];
        with_scratch(lengths.iter().sum(), |scratch| {
            let [rows, other_rows, right, scores] = split(scratch, lengths);
            let q = self.gather(rows, |token| self.row(qkv, token, 3, 0));
            self.gather(other_rows, |token| self.row(qkv, token, 3, 1));
            self.pack_transposed(right, other_rows, pack::units::<E>(width));
            self.scores::<E>(scores, q, right);
            softmax_rows(self.isa, p, scores, (tokens, tokens), self.scale());
            self.pack::<E>(right, |token| self.row(qkv, token, 3, 2));
            self.mix(y.wrapping_add(self.place(0, 1, 0)), 1, in_place(p, tokens), right);
        });
    }

    /// Computes dqkv. With dp = dy vᵀ and ds the gradient of the scores: dq = ds k, dk = dsᵀ q, dv = pᵀ dy.
    fn backward<E: Element>(self, dqkv: *mut E, dy: &[E], qkv: &[E], p: &[E]) {
        let AttentionShape { tokens, width, .. } = self.shape;
        let square = self.shape.square::<E>() / E::TERMS;
        let left_len = tokens.div_ceil(self.isa.rows()) * self.isa.lanes() * pack::units::<E>(tokens);
        let rows_len = self.units_len::<E>();
        let lengths = [rows_len, rows_len, self.right_len::<E>(), self.scores_len(), square, left_len];
        let to = |part| dqkv.wrapping_add(self.place(0, 3, part));
        let of_dy = |token| self.row(dy, token, 1, 0);
        let of_qkv = |part| move |token| self.row(qkv, token, 3, part);
        with_scratch(lengths.iter().sum(), |scratch| {
            let [rows, other_rows, right, dp, ds, panels] = split(scratch, lengths);
            let left = self.gather(rows, of_dy);
            self.gather(other_rows, of_qkv(2));
            self.pack_transposed(right, other_rows, pack::units::<E>(width));
            self.scores::<E>(dp, left, right);
            let ds = elements_mut::<E>(ds);
            softmax_rows_backward(self.isa, ds, dp, p, (tokens, tokens), self.scale());
            self.pack::<E>(right, of_qkv(1));
            self.mix(to(0), 3, in_place(ds, tokens), right);
            let left = self.pack_panels(panels, ds);
            self.pack::<E>(right, of_qkv(0));
            self.mix(to(1), 3, left, right);
            let left = self.pack_panels(panels, p);
            self.pack::<E>(right, of_dy);
            self.mix(to(2), 3, left, right);
        });
    }

    fn scale(self) -> f32 {
        1.0 / (self.shape.width as f32).sqrt()
    }

    /// The offset of this head's channels at a token, in a matrix with `parts` times as many channels.
    fn place(self, token: usize, parts: usize, part: usize) -> usize {
        let AttentionShape { batch, heads, width, .. } = self.shape;
        let (image, head) = (self.index / heads, self.index % heads);
        (((token * batch + image) * parts + part) * heads + head) * width
    }

    fn row<E>(self, matrix: &[E], token: usize, parts: usize, part: usize) -> &[E] {
        &matrix[self.place(token, parts, part)..][..self.shape.width]
    }

    /// The number of units of the rows of q, k, v or dy.
    fn units_len<E: Element>(self) -> usize {
        self.shape.tokens * pack::units::<E>(self.shape.width)
    }

    /// The number of units of the largest packed second factor.
    fn right_len<E: Element>(self) -> usize {
        let AttentionShape { tokens, width, .. } = self.shape;
        let len = |inner: usize, columns: usize| pack::units::<E>(inner) * columns.next_multiple_of(self.isa.columns());
        len(width, tokens).max(len(tokens, width))
    }

    /// Floats per row of scores: whole vectors, so that every tile writes whole vectors.
    fn scores_stride(self) -> usize {
        self.isa.width(self.shape.tokens)
    }

    fn scores_len(self) -> usize {
        self.shape.tokens * self.scores_stride()
    }

    /// Copies rows next to each other, as units.
    fn gather<'a, E: Element>(self, rows: &mut [f32], row: impl Fn(usize) -> &'a [E]) -> Left {
        let stride = pack::units::<E>(self.shape.width);
        rows.chunks_exact_mut(stride).enumerate().for_each(|(token, units)| copy_units(units, row(token)));
        Left { start: rows.as_ptr(), stride: Some(stride) }
    }

    /// Packs the transpose of the matrix `rows`, whose rows have `inner` units.
    fn pack_transposed(self, packed: &mut [f32], rows: &[f32], inner: usize) {
        let panels = packed.chunks_mut(inner * self.isa.columns());
        for (panel, packed) in (0..self.shape.tokens.div_ceil(self.isa.columns())).zip(panels) {
            let columns = panel_columns(self.isa, self.shape.tokens, panel);
            let width = self.isa.width(columns.len());
            let of_columns: [&[f32]; MOST_COLUMNS] =
                array::from_fn(|column| rows.chunks_exact(inner).nth(columns.start + column).unwrap_or(&[]));
            // Units are copied unchanged, like f32 numbers.
            pack::columns::<f32>(self.isa, &mut packed[..inner * width], width, &of_columns[..columns.len()]);
        }
    }

    /// Packs the head's rows of a matrix as the second factor of a sum over tokens.
    fn pack<'a, E: Element>(self, packed: &mut [f32], row: impl Fn(usize) -> &'a [E]) {
        let AttentionShape { tokens, width, .. } = self.shape;
        let inner = pack::units::<E>(tokens);
        let panels: Vec<Panel> = (0..width.div_ceil(self.isa.columns()))
            .map(|panel| {
                let columns = panel_columns(self.isa, width, panel);
                let pitch = self.isa.width(columns.len());
                Panel { first: columns.start, start: panel * inner * self.isa.columns(), pitch }
            })
            .collect();
        // SAFETY: the scratch belongs to this task.
        unsafe { pack::rows::<E, E>(self.isa, &Shared::new(packed), &panels, tokens, row) };
    }

    /// Packs the transpose of a square matrix as a first factor.
    fn pack_panels<E: Element>(self, packed: &mut [f32], square: &[E]) -> Left {
        let tokens = self.shape.tokens;
        let (inner, pitch) = (pack::units::<E>(tokens), self.isa.lanes());
        let panels: Vec<Panel> = (0..tokens.div_ceil(self.isa.rows()))
            .map(|tile| {
                let first = tile_rows(tokens, self.isa.rows(), tile).start;
                Panel { first, start: tile * inner * pitch, pitch }
            })
            .collect();
        let stride = square.len() / tokens;
        let row = |token| &square[token * stride..][..tokens];
        // SAFETY: the scratch belongs to this task.
        unsafe { pack::rows::<E, E>(self.isa, &Shared::new(packed), &panels, tokens, row) };
        Left { start: packed.as_ptr(), stride: None }
    }

    /// Computes scores = left right; the sums run over the head's channels.
    fn scores<E: Element>(self, scores: &mut [f32], left: Left, right: &[f32]) {
        let AttentionShape { tokens, width, .. } = self.shape;
        let stride = self.scores_stride();
        // SAFETY: `gather` wrote the rows of left, `pack_transposed` wrote the columns of right, padded to whole
        // vectors, and scores has a row of that length for each token.
        unsafe {
            let sizes = (tokens, pack::units::<E>(width), stride);
            multiply::<E, f32>(self.isa, (scores.as_mut_ptr(), stride), left, right, sizes);
        }
    }

    /// Computes left right, with sums over tokens, and writes it to this head's channels in a matrix with `parts`
    /// times as many channels.
    fn mix<E: Element>(self, to: *mut E, parts: usize, left: Left, right: &[f32]) {
        let AttentionShape { tokens, batch, heads, width } = self.shape;
        // SAFETY: left has a row for each token, in place or in panels, `pack` wrote right, and only one task writes
        // the channels of one head.
        unsafe {
            let sizes = (tokens, pack::units::<E>(tokens), width);
            multiply::<E, E>(self.isa, (to, batch * parts * heads * width), left, right, sizes);
        }
    }
}

/// Uses a square matrix of whole units in place, as the first factor.
fn in_place<E: Element>(square: &[E], tokens: usize) -> Left {
    Left { start: square.as_ptr().cast(), stride: Some(square.len() / tokens / E::TERMS) }
}

/// Computes c = left right with `rows`, `inner` units and `columns`. The rows of c are `stride` elements apart.
///
/// # Safety
/// Both factors must have these sizes. c must be valid for writes of this size, and no other task may write there.
unsafe fn multiply<U: Element, E: Element>(
    isa: Isa,
    (c, stride): (*mut E, usize),
    left: Left,
    right: &[f32],
    (rows, inner, columns): (usize, usize, usize),
) {
    for panel in 0..columns.div_ceil(isa.columns()) {
        let columns = panel_columns(isa, columns, panel);
        let b = &right[panel * inner * isa.columns()..][..inner * isa.width(columns.len())];
        for index in 0..rows.div_ceil(isa.rows()) {
            let rows = tile_rows(rows, isa.rows(), index);
            let (start, operands) = match left.stride {
                Some(stride) => (rows.start * stride, Operands::Rows { stride }),
                None => (index * inner * isa.lanes(), Operands::Terms { a: isa.lanes(), b: isa.width(columns.len()) }),
            };
            let tile = Tile {
                c: c.wrapping_add(rows.start * stride + columns.start),
                c_stride: stride,
                onto: std::ptr::null(),
                bias: std::ptr::null(),
                a: left.start.wrapping_add(start),
                b: b.as_ptr(),
                operands,
                segments: &[Segment { a: 0, b: 0, len: inner }],
                rows: rows.len(),
                columns: columns.len(),
            };
            // SAFETY: guaranteed by the caller.
            unsafe { tile::tile::<U, E>(isa, &tile) };
        }
    }
}

fn panel_columns(isa: Isa, columns: usize, panel: usize) -> Range<usize> {
    let first = panel * isa.columns();
    first..(first + isa.columns()).min(columns)
}

/// Cuts a slice into parts of the given lengths.
fn split<const N: usize>(mut whole: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|len| {
        let (part, rest) = std::mem::take(&mut whole).split_at_mut(len);
        whole = rest;
        part
    })
}
