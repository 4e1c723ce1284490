//! Whole products from register tiles: how the work is cut, packed and put together. Convolution, linear layers and
//! matrix products differ only in what they pass here.
//!
//! The batch is inside (`Layout::Maps`), so at one position a map is a dense matrix (images, channels), and a convolution
//! is a sum of dense products, one for each tap of the kernel that meets the image: padding is never multiplied.
//!
//! - `gather`: outputs and input gradients. Rows of c are images at a position. Activations are read in place, weights
//!   are packed by the task that uses them.
//! - `accumulate`: weight gradients. The inner dimension runs over images and positions. Both operands are packed in
//!   blocks that stay in the second-level cache.

use std::ops::Range;

use rayon::prelude::*;

use super::Isa;
use super::pack;
use super::pack::Panel;
use super::partition::PIECE;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::tile_rows;
use super::partition::with_scratch;
use super::tile;
use super::tile::MOST_COLUMNS;
use super::tile::PANEL;
use super::tile::Segment;
use super::tile::Tile;
use super::vector;
use super::vector::Element;

/// Multiplications that make a parallel task worth its start (some 20 to 40 microseconds).
const TASK: usize = 4 << 20;
/// Tasks of one product at most: enough for many cores, few enough to pack weights only a few times.
const TASKS: usize = 64;
/// Tiles of a task at least, so that packing weights costs a few percent of using them.
const TILES: usize = 48;
/// Units that a task packs at a time: half of a common second-level cache of 1 MiB.
const BLOCK: usize = 128 * 1024;
/// Rows of this many bytes, or a multiple, all fall into the same few places of a first-level cache.
const ALIAS: usize = 4096;

/// The rows of an operand: element runs of `inner`, one for each image at each position.
pub enum Rows<'a, E, F> {
    /// (positions, images, inner) in memory.
    InPlace(&'a [E]),
    /// Written by `make(position, image, row)`, `inner` elements each.
    Made(F),
}

/// No rows are made.
pub type NoMaker<E> = fn(usize, usize, &mut [E]);

/// The sizes of c (positions, images, columns) = a b.
pub struct Gathered {
    pub images: usize,
    pub positions: usize,
    pub columns: usize,
    /// Pieces of the inner dimension, each of `inner` terms.
    pub taps: usize,
    pub inner: usize,
}

/// What is added to c.
#[derive(Clone, Copy)]
pub struct Added<'a, E> {
    /// Of the layout of c.
    pub onto: Option<&'a [E]>,
    /// A float for each column.
    pub bias: Option<&'a [f32]>,
}

/// The weights that `gather` packs as b, in f32.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// (columns, taps, inner): those of a layer, for its outputs.
    Transposed(&'a [f32]),
    /// (inner, taps, columns): those of a layer, for its input gradient.
    Straight(&'a [f32]),
}

/// c = a b + what is added. A tile is some images at one position. `sources(position, list)` appends the taps that a
/// position has, each with the position of a that it meets.
pub fn gather<E: Element, F: Fn(usize, usize, &mut [E]) + Sync>(
    isa: Isa,
    c: &mut [E],
    added: Added<E>,
    a: &Rows<E, F>,
    b: Weights,
    sizes: &Gathered,
    sources: impl Fn(usize, &mut Vec<(usize, usize)>) + Sync,
) {
    let &Gathered { images, positions, columns, .. } = sizes;
    assert!(c.len() == images * positions * columns, "gather: sizes do not fit");
    assert!(added.onto.is_none_or(|onto| onto.len() == c.len()), "gather: sizes do not fit");
    assert!(added.bias.is_none_or(|bias| bias.len() == columns), "gather: sizes do not fit");
    if c.is_empty() {
        return;
    }
    let cut = Cut::new(isa, sizes, pack::units::<E>(sizes.inner));
    let c = Shared::new(c);
    with_scratch(cut.panels * cut.panel_units, |packed| {
        pack_weights::<E>(&cut, packed, b);
        for_each(cut.groups * cut.tile_parts, |task| {
            let panels = part(cut.panels, cut.groups, task % cut.groups);
            let tiles = part(cut.tiles, cut.tile_parts, task / cut.groups);
            with_scratch(cut.copy_units(), |copy| {
                let mut reader = Reader { a, cut: &cut, list: Vec::new(), segments: Vec::new(), copy };
                for index in tiles {
                    let (group, position) = (index / positions, index % positions);
                    let rows = tile_rows(images, isa.rows(), group);
                    let (a, a_stride) = reader.read(position, &rows, &sources);
                    for panel in panels.clone() {
                        reader.fetch_ahead(rows.end, panel - panels.start, panels.len());
                        let range = cut.columns(panel);
                        let at = (position * images + rows.start) * columns + range.start;
                        let tile = Tile {
                            c: c.pointer(at),
                            c_stride: columns,
                            onto: added.onto.map_or(std::ptr::null(), |onto| onto[at..].as_ptr()),
                            bias: added.bias.map_or(std::ptr::null(), |bias| bias[range.start..].as_ptr()),
                            a,
                            a_stride,
                            b: packed[panel * cut.panel_units..].as_ptr(),
                            segments: &reader.segments,
                            rows: rows.len(),
                            columns: range.len(),
                        };
                        // SAFETY: `read` checked the rows of a, and its segments name packed rows only; tasks differ
                        // in their panels or their (group, position), so no two write the same element.
                        unsafe { tile::tile::<E, E>(isa, &tile) };
                    }
                }
            });
        });
    });
}

/// Packs all weights, panel by panel, each (taps, units, columns).
pub(super) fn pack_weights<E: Element>(cut: &Cut, packed: &mut [f32], b: Weights) {
    let &Cut { isa, columns: all, inner, taps, tap_units, panels, panel_units, .. } = cut;
    let wanted = (packed.len() / PIECE).max(1);
    let whole = Shared::new(packed);
    match b {
        Weights::Transposed(w) => for_each(panels.min(wanted), |task| {
            for panel in part(panels, panels.min(wanted), task) {
                let range = cut.columns(panel);
                let width = isa.width(range.len());
                let mut of_columns = [&w[..0]; MOST_COLUMNS];
                for tap in 0..taps {
                    for (of_column, column) in of_columns.iter_mut().zip(range.clone()) {
                        *of_column = &w[(column * taps + tap) * inner..][..inner];
                    }
                    let start = panel * panel_units + tap * tap_units * width;
                    // SAFETY: tasks differ in their panels.
                    let packed = unsafe { whole.slice(start, tap_units * width) };
                    pack::columns::<E>(isa, packed, width, &of_columns[..range.len()]);
                }
            }
        }),
        Weights::Straight(w) => for_each(tap_units.min(wanted), |task| {
            let units = part(tap_units, tap_units.min(wanted), task);
            let rows = units.start * E::TERMS..(units.end * E::TERMS).min(inner);
            for tap in 0..taps {
                let of_tap = |panel: usize| {
                    let pitch = isa.width(cut.columns(panel).len());
                    let start = panel * panel_units + (tap * tap_units + units.start) * pitch;
                    Panel { first: cut.columns(panel).start, start, pitch }
                };
                let of_tap: Vec<Panel> = (0..panels).map(of_tap).collect();
                let row = |r: usize| &w[((rows.start + r) * taps + tap) * all..][..all];
                // SAFETY: tasks differ in their units.
                unsafe { pack::rows::<E, f32>(isa, &whole, &of_tap, rows.len(), row) };
            }
        }),
    }
}

/// The sources of a product with one tap and one position.
pub fn one_source(_: usize, list: &mut Vec<(usize, usize)>) {
    list.push((0, 0));
}

/// How a `gather` is cut: depends on the sizes alone.
pub(super) struct Cut {
    pub(super) isa: Isa,
    columns: usize,
    images: usize,
    pub(super) inner: usize,
    taps: usize,
    /// Units of one tap.
    tap_units: usize,
    pub(super) panels: usize,
    pub(super) panel_units: usize,
    /// Parts of the panels.
    groups: usize,
    tiles: usize,
    tile_parts: usize,
}

impl Cut {
    pub(super) fn new(isa: Isa, sizes: &Gathered, tap_units: usize) -> Self {
        let &Gathered { images, positions, columns, taps, inner } = sizes;
        let panels = columns.div_ceil(isa.columns());
        let panel_units = taps * tap_units * isa.columns();
        let image_groups = images.div_ceil(isa.rows());
        let tiles = image_groups * positions;
        let wanted = ((images * positions * columns).saturating_mul(taps * inner) / TASK).clamp(1, TASKS);
        // Panels that fit the cache are used together on each tile, which then is read from afar only once.
        let fitting = panels.div_ceil((BLOCK / panel_units.max(1)).max(1));
        let tile_parts = wanted.div_ceil(fitting).clamp(1, (tiles / TILES).max(1));
        let groups = (wanted / tile_parts).clamp(fitting, panels);
        Self { isa, columns, images, inner, taps, tap_units, panels, panel_units, groups, tiles, tile_parts }
    }

    pub(super) fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.isa.columns();
        first..(first + self.isa.columns()).min(self.columns)
    }

    /// Units from one copied row to the next: a cache line more than the row, so that rows do not alias.
    fn copy_stride(&self) -> usize {
        (self.taps * self.tap_units).next_multiple_of(16) + 16
    }

    fn copy_units(&self) -> usize {
        self.isa.rows() * self.copy_stride()
    }
}

/// Finds the rows of a for one tile: in place where they can be used so, else copied side by side.
struct Reader<'r, E, F> {
    a: &'r Rows<'r, E, F>,
    cut: &'r Cut,
    list: Vec<(usize, usize)>,
    segments: Vec<Segment>,
    copy: &'r mut [f32],
}

impl<E: Element, F: Fn(usize, usize, &mut [E])> Reader<'_, E, F> {
    /// Where the rows of `images` at `position` begin, and their stride, in units; `segments` then says what they hold.
    fn read(
        &mut self,
        position: usize,
        images: &Range<usize>,
        sources: &impl Fn(usize, &mut Vec<(usize, usize)>),
    ) -> (*const f32, usize) {
        let Cut { inner, taps, tap_units, images: all, .. } = *self.cut;
        self.list.clear();
        sources(position, &mut self.list);
        assert!(self.list.iter().all(|&(tap, _)| tap < taps), "gather: no such tap: {:?}", self.list);
        self.segments.clear();
        match self.a {
            Rows::InPlace(a) if inner % E::TERMS == 0 && (inner * size_of::<E>()) % ALIAS != 0 => {
                let start = images.start * inner;
                for &(tap, source) in &self.list {
                    let end = (source * all + images.end) * inner;
                    assert!(end <= a.len(), "gather: position {source} lies outside a");
                    let a = source * all * inner / E::TERMS;
                    self.segments.push(Segment { a, b: tap * tap_units, len: tap_units });
                }
                (a[start..].as_ptr().cast(), inner / E::TERMS)
            }
            Rows::InPlace(a) => {
                let stride = self.cut.copy_stride();
                for (place, &(tap, source)) in self.list.iter().enumerate() {
                    for (copy, image) in self.copy.chunks_mut(stride).zip(images.clone()) {
                        let row = &a[(source * all + image) * inner..][..inner];
                        copy_units(&mut copy[place * tap_units..][..tap_units], row);
                    }
                    self.segments.push(Segment { a: place * tap_units, b: tap * tap_units, len: tap_units });
                }
                (self.copy.as_ptr(), stride)
            }
            Rows::Made(make) => {
                let stride = self.cut.copy_stride();
                for (copy, image) in self.copy.chunks_mut(stride).zip(images.clone()) {
                    copy[tap_units - 1] = 0.0;
                    make(position, image, &mut elements_mut(&mut copy[..tap_units])[..inner]);
                }
                self.segments.push(Segment { a: 0, b: 0, len: tap_units });
                (self.copy.as_ptr(), stride)
            }
        }
    }
}

impl<E: Element, F> Reader<'_, E, F> {
    /// Asks the memory for a share, `part` of `parts`, of the rows that the next tile reads, where it reads neighbouring
    /// rows of one position: short runs that the processor does not foresee.
    fn fetch_ahead(&self, next: usize, part: usize, parts: usize) {
        let Rows::InPlace(a) = self.a else { return };
        if self.cut.taps == 1 {
            let rows = next * self.cut.inner..((next + self.cut.isa.rows()) * self.cut.inner).min(a.len());
            let share = super::partition::part(rows.len(), parts, part);
            let line = 64 / size_of::<E>();
            (rows.start + share.start..rows.start + share.end).step_by(line).for_each(|at| vector::fetch(&a[at]));
        }
    }
}

/// Units as the elements that they hold.
pub fn elements_mut<E: Element>(units: &mut [f32]) -> &mut [E] {
    // SAFETY: an f32 has the size of TERMS elements of E, at least their alignment, and any bits are an element.
    unsafe { std::slice::from_raw_parts_mut(units.as_mut_ptr().cast(), units.len() * E::TERMS) }
}

/// A row as units; what is missing of the last one is zero.
pub fn copy_units<E: Element>(units: &mut [f32], row: &[E]) {
    if let Some(last) = units.last_mut() {
        *last = 0.0;
    }
    elements_mut(units)[..row.len()].copy_from_slice(row);
}

/// The sizes of c (rows, taps, columns) += aᵀ b, where a has a row for each image at each position, and b one for each
/// image at each of its own positions.
pub struct Accumulated {
    pub rows: usize,
    pub taps: usize,
    pub columns: usize,
    pub images: usize,
    pub positions: usize,
    /// Positions that are neighbours in a line, and meet neighbours in b.
    pub line: usize,
}

/// c += aᵀ b, where `source(tap, position)` is the position of b that a tap meets, if any.
///
/// Where c is small, the terms are cut into lanes, each with sums of its own, which are then added in order.
pub fn accumulate<E: Element, F: Fn(usize, usize, &mut [E]) + Sync>(
    isa: Isa,
    c: &mut [f32],
    a: &[E],
    b: &Rows<E, F>,
    sizes: &Accumulated,
    source: impl Fn(usize, usize) -> Option<usize> + Sync,
) {
    assert!(c.len() == sizes.rows * sizes.taps * sizes.columns, "accumulate: sizes do not fit");
    assert!(a.len() == sizes.positions * sizes.images * sizes.rows, "accumulate: sizes do not fit");
    if c.is_empty() {
        return;
    }
    let work = Work::new(isa, sizes, E::TERMS);
    let run = |c: &mut [f32]| {
        let len = c.len() / work.lanes;
        let c = Shared::new(c);
        for_each(work.lanes * work.parts, |task| {
            let (lane, panels) = (task / work.parts, part(work.panels, work.parts, task % work.parts));
            for block in part(work.blocks(), work.lanes, lane) {
                accumulate_block(&work, c.pointer(lane * len), a, b, &panels, block, &source);
            }
        });
    };
    if work.lanes == 1 {
        return run(c);
    }
    with_scratch(work.lanes * c.len(), |partials| {
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

/// How an `accumulate` is cut: depends on the sizes alone.
struct Work<'s> {
    isa: Isa,
    sizes: &'s Accumulated,
    panels: usize,
    /// Parts of the panels.
    parts: usize,
    lanes: usize,
    row_tiles: usize,
    /// A block is some images at some positions.
    image_blocks: usize,
    position_blocks: usize,
}

impl<'s> Work<'s> {
    fn new(isa: Isa, sizes: &'s Accumulated, unit_terms: usize) -> Self {
        let &Accumulated { rows, taps, columns, images, positions, line } = sizes;
        let panels = columns.div_ceil(isa.columns());
        let terms = images * positions;
        let wanted = ((rows * taps * columns).saturating_mul(terms) / TASK).clamp(1, TASKS);
        // Each part packs a again, and each lane has sums of its own: as many as cost a few percent of the product.
        let parts = (taps * columns / 96).clamp(1, panels).min(wanted);
        let lanes = (terms / 1024).clamp(1, wanted.div_ceil(parts));
        let row_tiles = rows.div_ceil(isa.rows());
        let of_task = rows + columns.div_ceil(parts) * if taps > 1 { 2 } else { 1 };
        let block_terms = (BLOCK * unit_terms / of_task).clamp(64, 4096);
        let image_blocks = if positions == 1 { images.div_ceil(block_terms) } else { images.div_ceil(128) };
        let block_positions = (block_terms / images.div_ceil(image_blocks)).max(1);
        let whole_lines = (block_positions / line * line).max(1);
        let position_blocks = positions.div_ceil(if block_positions < line { block_positions } else { whole_lines });
        let lanes = lanes.min(image_blocks * position_blocks);
        Self { isa, sizes, panels, parts, lanes, row_tiles, image_blocks, position_blocks }
    }

    fn blocks(&self) -> usize {
        self.image_blocks * self.position_blocks
    }

    fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.isa.columns();
        first..(first + self.isa.columns()).min(self.sizes.columns)
    }
}

/// Adds the terms of one block to some panels of c.
fn accumulate_block<E: Element, F: Fn(usize, usize, &mut [E])>(
    work: &Work,
    c: *mut f32,
    a: &[E],
    b: &Rows<E, F>,
    panels: &Range<usize>,
    block: usize,
    source: &impl Fn(usize, usize) -> Option<usize>,
) {
    let isa = work.isa;
    let &Accumulated { rows, taps, columns, images: all, positions, .. } = work.sizes;
    let images = part(all, work.image_blocks, block / work.position_blocks);
    let positions = part(positions, work.position_blocks, block % work.position_blocks);
    let meets = |tap: usize| positions.clone().filter_map(move |p| source(tap, p).map(|source| (p, source)));
    let mut slots: Vec<usize> = (0..taps).flat_map(|tap| meets(tap).map(|(_, source)| source)).collect();
    slots.sort_unstable();
    slots.dedup();
    let len = pack::units::<E>(images.len());
    let a_panel = positions.len() * len * isa.lanes();
    let b_panel = slots.len() * len * isa.columns();
    with_scratch(work.row_tiles * a_panel + panels.len() * b_panel, |scratch| {
        let (packed_a, packed_b) = scratch.split_at_mut(work.row_tiles * a_panel);
        for (place, position) in positions.clone().enumerate() {
            let of_position = |tile: usize| Panel {
                first: tile_rows(rows, isa.rows(), tile).start,
                start: tile * a_panel + place * len * isa.lanes(),
                pitch: isa.lanes(),
            };
            let panels: Vec<Panel> = (0..work.row_tiles).map(of_position).collect();
            let first = position * all + images.start;
            // SAFETY: the scratch is this task's own.
            unsafe {
                pack::rows::<E, E>(isa, &Shared::new(packed_a), &panels, images.len(), |r| {
                    &a[(first + r) * rows..][..rows]
                });
            }
        }
        pack_b(work, packed_b, b, panels, &images, &slots);
        let mut segments = Vec::new();
        for tap in 0..taps {
            segments.clear();
            for (position, source) in meets(tap) {
                let slot = slots.binary_search(&source).expect("every source has its slot");
                let segment = Segment { a: (position - positions.start) * len, b: slot * len, len };
                push_joined(&mut segments, segment);
            }
            if segments.is_empty() {
                continue;
            }
            for (panel, packed_b) in panels.clone().zip(packed_b.chunks_exact(b_panel)) {
                let range = work.columns(panel);
                for (tile, packed_a) in packed_a.chunks_exact(a_panel).enumerate() {
                    let rows = tile_rows(rows, isa.rows(), tile);
                    let c = c.wrapping_add((rows.start * taps + tap) * columns + range.start);
                    let tile = Tile {
                        c,
                        c_stride: taps * columns,
                        onto: c.cast_const(),
                        bias: std::ptr::null(),
                        a: packed_a.as_ptr(),
                        a_stride: PANEL,
                        b: packed_b.as_ptr(),
                        segments: &segments,
                        rows: rows.len(),
                        columns: range.len(),
                    };
                    // SAFETY: the segments name rows that were packed above; tasks differ in their lane or their
                    // panels, so no two write the same element.
                    unsafe { tile::tile::<E, f32>(isa, &tile) };
                }
            }
        }
    });
}

/// Packs the rows of b at `slots`, panel by panel.
fn pack_b<E: Element, F: Fn(usize, usize, &mut [E])>(
    work: &Work,
    packed: &mut [f32],
    b: &Rows<E, F>,
    panels: &Range<usize>,
    images: &Range<usize>,
    slots: &[usize],
) {
    let isa = work.isa;
    let &Accumulated { columns, images: all, .. } = work.sizes;
    let len = pack::units::<E>(images.len());
    let panel_units = slots.len() * len * isa.columns();
    let mut made = Vec::new();
    for (place, &slot) in slots.iter().enumerate() {
        let rows = match b {
            Rows::InPlace(b) => &b[(slot * all + images.start) * columns..][..images.len() * columns],
            Rows::Made(make) => {
                made.resize(images.len() * columns, E::default());
                made.chunks_exact_mut(columns).zip(images.clone()).for_each(|(row, image)| make(slot, image, row));
                &made
            }
        };
        let of_slot: Vec<Panel> = (panels.clone().enumerate())
            .map(|(index, panel)| {
                let columns = work.columns(panel);
                let pitch = isa.width(columns.len());
                Panel { first: columns.start, start: index * panel_units + place * len * pitch, pitch }
            })
            .collect();
        // SAFETY: the scratch is this task's own.
        unsafe {
            pack::rows::<E, E>(isa, &Shared::new(packed), &of_slot, images.len(), |r| &rows[r * columns..][..columns]);
        }
    }
}

/// Appends a segment, as part of the last one where it goes on from there.
fn push_joined(segments: &mut Vec<Segment>, next: Segment) {
    match segments.last_mut() {
        Some(last) if last.a + last.len == next.a && last.b + last.len == next.b => last.len += next.len,
        _ => segments.push(next),
    }
}
