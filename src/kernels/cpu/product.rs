//! Whole products from register tiles: how the work is cut, packed and put together. Convolution, linear layers and
//! matrix products differ only in what they pass here.

use std::ops::Range;

use rayon::prelude::*;

use super::Isa;
use super::partition::PIECE;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::with_scratch;
use super::tile;
use super::tile::Accumulate;
use super::tile::Gather;
use super::tile::Pair;
use super::tile::Segment;

/// Multiplications that make a parallel task worth its start (some 20 microseconds).
const TASK: usize = 1 << 20;
/// Tasks of one product at most: enough for many cores, few enough to pack b only a few times.
const TASKS: usize = 256;
/// Tiles of a task at least, so that packing b costs a few percent of using it.
const TILES: usize = 32;
/// Floats of both factors that a block of terms may span: half of a common second-level cache.
const TERM_BLOCK: usize = 128 * 1024;
/// Partial sums of one product at most, in floats.
const PARTIALS: usize = 512 * 1024;

/// The sizes of c (images, positions, columns) = a b, where each position draws on its own segments of an image of a.
/// A matrix is the case of one position.
pub struct Gathered {
    pub images: usize,
    pub positions: usize,
    pub columns: usize,
    /// Elements of one image of a.
    pub image_len: usize,
    /// Rows of b.
    pub depth: usize,
}

/// c = a b. A tile is one position of several images, so that padding never enters: a position lists the segments it has.
///
/// `pack(columns, width, packed)` writes those columns of b as rows of `width` floats, the missing columns as zeros;
/// `segments(position, list)` appends the segments of a position.
pub fn gather(
    isa: Isa,
    c: &mut [f32],
    a: &[f32],
    sizes: &Gathered,
    pack: impl Fn(Range<usize>, usize, &mut [f32]) + Sync,
    segments: impl Fn(usize, &mut Vec<Segment>) + Sync,
) {
    let &Gathered { images, positions, columns, image_len, depth } = sizes;
    assert!(c.len() == images * positions * columns && a.len() == images * image_len, "gather: sizes do not fit");
    let groups = images.div_ceil(isa.rows());
    let tiles = groups * positions;
    let panels = columns.div_ceil(isa.columns());
    let wanted = (images * positions * columns).saturating_mul(depth) / TASK;
    let panel_parts = panels.min(wanted.clamp(1, TASKS));
    let tile_parts = (wanted.min(TASKS) / panel_parts.max(1)).clamp(1, tiles.div_ceil(TILES).max(1));
    let c = Shared::new(c);
    for_each(panel_parts * tile_parts, |task| {
        let mut list = Vec::new();
        for panel in part(panels, panel_parts, task % panel_parts) {
            let first = panel * isa.columns();
            let last = (first + isa.columns()).min(columns);
            let width = isa.width(last - first);
            with_scratch(depth * width, |packed| {
                pack(first..last, width, packed);
                for tile in part(tiles, tile_parts, task / panel_parts) {
                    let (group, position) = (tile / positions, tile % positions);
                    let images = part(images, groups, group);
                    list.clear();
                    segments(position, &mut list);
                    check_segments(&list, image_len, depth);
                    let tile = Gather {
                        c: c.pointer((images.start * positions + position) * columns + first),
                        c_stride: positions * columns,
                        a: a[images.start * image_len..images.end * image_len].as_ptr(),
                        a_stride: image_len,
                        packed: packed.as_ptr(),
                        segments: &list,
                        rows: images.len(),
                        columns: last - first,
                    };
                    // SAFETY: segments lie inside an image and inside the packed rows, as just checked; tasks differ in
                    // their panel or in their (group, position), so no two write the same element.
                    unsafe { tile::gather(isa, &tile) };
                }
            });
        }
    });
}

/// The sizes of c (rows, taps, columns) += a b over terms that come in `lines`.
pub struct Accumulated {
    pub rows: usize,
    pub taps: usize,
    pub columns: usize,
    pub lines: usize,
    /// Terms of a line.
    pub line_len: usize,
}

/// Terms that all touch the same columns, with the pairs' b at the first of them.
pub struct Span {
    pub columns: Range<usize>,
    pub pairs: Vec<Pair>,
}

/// c += aᵀ b.
///
/// `spans(tap, lines, list)` fills `list` with the terms of some lines for one tap; it may reuse what `list` holds.
/// Where c is small, the lines are cut into lanes, each with partial sums of its own, which are then added in order.
pub fn accumulate(
    isa: Isa,
    c: &mut [f32],
    a: &[f32],
    b: &[f32],
    sizes: &Accumulated,
    spans: impl Fn(usize, Range<usize>, &mut Vec<Span>) + Sync,
) {
    assert!(c.len() == sizes.rows * sizes.taps * sizes.columns, "accumulate: sizes do not fit");
    if c.is_empty() {
        return;
    }
    let lanes = sizes.lanes();
    let run = |c: &mut [f32]| {
        let panels = sizes.columns.div_ceil(isa.columns());
        let len = c.len() / lanes;
        let c = Shared::new(c);
        for_each(lanes * sizes.taps * panels, |task| {
            let (lane, tap, panel) = (task / (sizes.taps * panels), task / panels % sizes.taps, task % panels);
            let first = panel * isa.columns();
            let unit = Unit {
                tap,
                columns: first..(first + isa.columns()).min(sizes.columns),
                lines: part(sizes.lines, lanes, lane),
            };
            accumulate_unit(isa, c.pointer(lane * len), a, b, sizes, &unit, &spans);
        });
    };
    if lanes == 1 {
        return run(c);
    }
    with_scratch(lanes * c.len(), |partials| {
        partials.fill(0.0);
        run(partials);
        let len = c.len();
        c.par_chunks_mut(PIECE).enumerate().for_each(|(piece, c)| {
            for partial in partials.chunks_exact(len) {
                c.iter_mut().zip(&partial[piece * PIECE..]).for_each(|(c, &p)| *c += p);
            }
        });
    });
}

/// What one task of `accumulate` does: some columns of one tap, over some lines.
struct Unit {
    tap: usize,
    columns: Range<usize>,
    lines: Range<usize>,
}

fn accumulate_unit(
    isa: Isa,
    c: *mut f32,
    a: &[f32],
    b: &[f32],
    sizes: &Accumulated,
    unit: &Unit,
    spans: &(impl Fn(usize, Range<usize>, &mut Vec<Span>) + Sync),
) {
    let row_tiles = sizes.rows.div_ceil(isa.rows());
    let blocks = unit.lines.len().div_ceil(sizes.block_lines());
    let c_stride = sizes.taps * sizes.columns;
    let mut list = Vec::new();
    for block in 0..blocks {
        let lines = part(unit.lines.len(), blocks, block);
        spans(unit.tap, unit.lines.start + lines.start..unit.lines.start + lines.end, &mut list);
        for span in list.iter().filter(|span| !span.pairs.is_empty()) {
            let columns = span.columns.start.max(unit.columns.start)..span.columns.end.min(unit.columns.end);
            if columns.is_empty() {
                continue;
            }
            check_pairs(span, sizes.rows, a.len(), b.len());
            for tile in 0..row_tiles {
                let rows = part(sizes.rows, row_tiles, tile);
                let tile = Accumulate {
                    c: c.wrapping_add(rows.start * c_stride + unit.tap * sizes.columns + columns.start),
                    c_stride,
                    a: a[rows.start..].as_ptr(),
                    b: b[columns.start - span.columns.start..].as_ptr(),
                    pairs: &span.pairs,
                    rows: rows.len(),
                    columns: columns.len(),
                };
                // SAFETY: a row of a and the span of b fit behind every pair, as just checked; units differ in lane,
                // tap or columns, so no two write the same element.
                unsafe { tile::accumulate(isa, &tile) };
            }
        }
    }
}

impl Accumulated {
    fn lanes(&self) -> usize {
        let len = (self.rows * self.taps * self.columns).max(1);
        let floats = self.lines * self.line_len * (self.rows + self.columns);
        (floats / TERM_BLOCK).min(PARTIALS / len).min(self.lines).clamp(1, 32)
    }

    fn block_lines(&self) -> usize {
        let terms = (TERM_BLOCK / (self.rows + self.columns).max(1)).clamp(64, 512);
        (terms / self.line_len.max(1)).max(1)
    }
}

/// Packs rows of b: `row(depth)` is the slice of the wanted columns.
pub fn pack_rows<'s>(packed: &mut [f32], width: usize, row: impl Fn(usize) -> &'s [f32]) {
    for (depth, packed) in packed.chunks_exact_mut(width).enumerate() {
        let row = row(depth);
        packed[..row.len()].copy_from_slice(row);
        packed[row.len()..].fill(0.0);
    }
}

/// Packs rows of bᵀ, where b is given by its `columns` of `depth` consecutive floats each.
pub fn pack_columns(packed: &mut [f32], width: usize, columns: &[f32], depth: usize) {
    packed.fill(0.0);
    // Sixteen rows at a time: the written block stays in the first-level cache while each column gives a cache line.
    for (block, packed) in packed.chunks_mut(16 * width).enumerate() {
        for (column, values) in columns.chunks_exact(depth).enumerate() {
            let values = &values[16 * block..];
            for (row, &value) in packed.chunks_exact_mut(width).zip(values) {
                row[column] = value;
            }
        }
    }
}

fn check_segments(segments: &[Segment], image_len: usize, depth: usize) {
    let fits = |s: &Segment| s.a + s.len <= image_len && s.b + s.len <= depth;
    assert!(segments.iter().all(fits), "gather: a segment lies outside its operands: {segments:?}");
}

fn check_pairs(span: &Span, rows: usize, a_len: usize, b_len: usize) {
    let a_end = span.pairs.iter().map(|pair| pair.a + rows).max().unwrap_or(0);
    let b_end = span.pairs.iter().map(|pair| pair.b + span.columns.len()).max().unwrap_or(0);
    assert!(a_end <= a_len && b_end <= b_len, "accumulate: a term lies outside its operands");
}
