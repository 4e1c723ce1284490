//! Whole products, built from register tiles: how the work is cut into tasks, packed and put together. Convolution,
//! linear layers and matrix products differ only in the arguments that they pass to this module.
//!
//! The batch is inside (`Layout::Maps`), so at one position a map is a dense matrix (images, channels), and a
//! convolution is a sum of dense products, one for each tap of the kernel that falls on the image. Padding is never
//! multiplied.
//!
//! - `gather`: outputs and input gradients. Rows of c are images at a position. Activations are read in place if
//!   their rows are whole units and do not alias in the cache. Weights are packed once for all tasks.
//! - `accumulate`: weight gradients. The inner dimension runs over images and positions. Both operands are packed. If
//!   there are few weights, each task packs a part of the images, in the second-level cache of its core; otherwise
//!   all tasks together pack blocks that stay in the third-level cache.

use std::ops::Range;

use super::Isa;
use super::isa::with_wide_vectors;
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
use super::tile::Operands;
use super::tile::Segment;
use super::tile::Tile;
use super::vector;
use super::vector::Element;

/// The minimum number of multiplications of a parallel task (about 20 to 40 microseconds), so that it is worth its
/// start-up cost.
const TASK: usize = 4 << 20;
/// The maximum number of tasks of a product: enough for many cores.
const TASKS: usize = 64;
/// The minimum number of tiles of a task, so that its start-up cost is small.
const TILES: usize = 48;
/// Units of packed weights that a task reads for each tile: half of a typical second-level cache of 1 MiB.
const BLOCK: usize = 128 * 1024;
/// Units of both operands that `accumulate` packs at a time: they stay in a third-level cache.
const ACCUMULATED: usize = 1024 * 1024;
/// Units of both operands that a task of `accumulate` packs at a time if it works alone. Together with its sums they
/// fill most of a second-level cache.
const ALONE: usize = 160 * 1024;
/// The number of parts that are summed separately is a multiple of this, so that on 2, 4 or 8 cores none waits for
/// another.
const PARTS: usize = 8;
/// Images that are packed at a time; an even number.
const RUN: usize = 64;
/// Rows of this many bytes, or of a multiple of it, all fall into the same few sets of a first-level cache.
const ALIAS: usize = 4096;

/// The rows of a in `gather`: `inner` elements for each image and source.
#[derive(Clone, Copy)]
pub enum Rows<'a, E> {
    /// (positions, images, inner): sources are positions.
    Maps(&'a [E]),
    /// Lines of windows: sources are elements of an image, and the sources of one position are whole units apart.
    /// Elements after a row, up to a whole unit, are multiplied by zero.
    Lines {
        values: &'a [E],
        /// The image stride in elements, a whole number of units.
        image: usize,
    },
}

/// The rows of b in `accumulate`.
pub enum Terms<'a, E, F> {
    /// (positions, images, columns).
    Maps(&'a [E]),
    /// Written by `make(position, images, rows, pitch)`: `columns` elements for each of the images, `pitch` apart. Up
    /// to `SLACK` elements after a row may be overwritten too.
    Made(F),
}

/// A function that writes `Terms::Made`.
pub trait Maker<E>: Fn(usize, Range<usize>, &mut [E], usize) + Sync {}
impl<E, F: Fn(usize, Range<usize>, &mut [E], usize) + Sync> Maker<E> for F {}

/// The maker type of `Terms::Maps`, which makes no rows.
pub type NoMaker<E> = fn(usize, Range<usize>, &mut [E], usize);

/// Elements after a row that its maker may overwrite.
pub const SLACK: usize = 16;

/// The sizes of c (positions, images, columns) = a b.
pub struct Gathered {
    pub images: usize,
    pub positions: usize,
    pub columns: usize,
    /// Pieces of the inner dimension, each of `inner` terms.
    pub taps: usize,
    pub inner: usize,
}

/// The addends of c.
#[derive(Clone, Copy)]
pub struct Added<'a, E> {
    /// A matrix with the layout of c.
    pub onto: Option<&'a [E]>,
    /// One float for each column.
    pub bias: Option<&'a [f32]>,
}

/// The weights that `gather` packs as b, in f32.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// (columns, taps, inner): the weights of a layer, for its outputs.
    Transposed(&'a [f32]),
    /// (inner, taps, columns): the weights of a layer, for its input gradient.
    Straight(&'a [f32]),
}

/// c = a b + `added`. A tile covers some images at one position. `sources(position, list)` appends the taps of a
/// position, each with the position of a that it reads.
pub fn gather<E: Element>(
    isa: Isa,
    c: &mut [E],
    added: Added<E>,
    a: Rows<E>,
    b: Weights,
    sizes: &Gathered,
    sources: impl Fn(usize, &mut Vec<(usize, usize)>),
) {
    let &Gathered { images, positions, columns, .. } = sizes;
    assert!(c.len() == images * positions * columns, "gather: sizes do not fit");
    assert!(added.onto.is_none_or(|onto| onto.len() == c.len()), "gather: sizes do not fit");
    assert!(added.bias.is_none_or(|bias| bias.len() == columns), "gather: sizes do not fit");
    if c.is_empty() {
        return;
    }
    let cut = Cut::new(isa, sizes, pack::units::<E>(sizes.inner));
    let sources = Sources::new(a, &cut, positions, sources);
    let c = Shared::new(c);
    with_scratch(cut.panels * cut.panel_units, |packed| {
        pack_weights::<E>(&cut, packed, b);
        for_each(cut.groups * cut.tile_parts, |task| {
            let panels = part(cut.panels, cut.groups, task % cut.groups);
            let tiles = part(cut.tiles, cut.tile_parts, task / cut.groups);
            with_scratch(cut.copy_units(), |copy| {
                for index in tiles {
                    let (group, position) = (index / positions, index % positions);
                    let rows = tile_rows(images, isa.rows(), group);
                    let (a, stride) = sources.read(position, &rows, copy);
                    for panel in panels.clone() {
                        sources.fetch_ahead(rows.end, panel - panels.start, panels.len());
                        let range = cut.columns(panel);
                        let at = (position * images + rows.start) * columns + range.start;
                        let tile = Tile {
                            c: c.pointer(at),
                            c_stride: columns,
                            onto: added.onto.map_or(std::ptr::null(), |onto| onto[at..].as_ptr()),
                            bias: added.bias.map_or(std::ptr::null(), |bias| bias[range.start..].as_ptr()),
                            a,
                            b: packed[panel * cut.panel_units..].as_ptr(),
                            operands: Operands::Rows { stride },
                            segments: sources.segments(position),
                            rows: rows.len(),
                            columns: range.len(),
                        };
                        // SAFETY: `Sources::new` checked the rows of a, and its segments name only packed rows. Tasks
                        // differ in their panels or their (group, position), so no two tasks write the same element.
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

/// How a `gather` is cut into tasks. It depends on the sizes alone.
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
        // Panels that fit into the cache are used together on each tile, so that the tile is read from outside the
        // cache only once.
        let fitting = panels.div_ceil((BLOCK / panel_units.max(1)).max(1));
        let tile_parts = wanted.div_ceil(fitting).clamp(1, (tiles / TILES).max(1));
        let groups = (wanted / tile_parts).clamp(fitting, panels);
        Self { isa, columns, images, inner, taps, tap_units, panels, panel_units, groups, tiles, tile_parts }
    }

    pub(super) fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.isa.columns();
        first..(first + self.isa.columns()).min(self.columns)
    }

    /// The stride of copied rows in units: one cache line more than the row, so that rows do not alias.
    fn copy_stride(&self) -> usize {
        (self.taps * self.tap_units).next_multiple_of(16) + 16
    }

    fn copy_units(&self) -> usize {
        self.isa.rows() * self.copy_stride()
    }
}

/// The location of the rows of a for each position: in place if possible, otherwise copied next to each other for
/// each tile.
struct Sources<'s, E> {
    a: Rows<'s, E>,
    cut: &'s Cut,
    positions: usize,
    in_place: bool,
    /// Taps with the sources that they read, position by position.
    list: Vec<(usize, usize)>,
    /// The contents of the rows of each position, one segment for each tap.
    segments: Vec<Segment>,
    /// The start of each position's taps, and the end of the last position's taps.
    starts: Vec<usize>,
}

impl<'s, E: Element> Sources<'s, E> {
    fn new(a: Rows<'s, E>, cut: &'s Cut, positions: usize, sources: impl Fn(usize, &mut Vec<(usize, usize)>)) -> Self {
        let &Cut { inner, taps, tap_units, images, .. } = cut;
        let aliased = (inner * size_of::<E>()).is_multiple_of(ALIAS);
        let in_place = matches!(a, Rows::Lines { .. }) || inner.is_multiple_of(E::TERMS) && !aliased;
        let (mut list, mut segments, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for position in 0..positions {
            sources(position, &mut list);
            let of_position = &list[segments.len()..];
            let first = of_position.first().map_or(0, |&(_, source)| source);
            for (place, &(tap, source)) in of_position.iter().enumerate() {
                assert!(tap < taps, "gather: no such tap: {tap}");
                let a = match a {
                    Rows::Maps(a) => {
                        let end = (source + 1) * images * inner;
                        assert!(end <= a.len(), "gather: position {source} lies outside a");
                        if in_place { source * images * inner / E::TERMS } else { place * tap_units }
                    }
                    Rows::Lines { values, image } => {
                        let end = source + (images - 1) * image + tap_units * E::TERMS;
                        let whole = (source - first).is_multiple_of(E::TERMS) && image.is_multiple_of(E::TERMS);
                        assert!(whole && end <= values.len(), "gather: no line at {source}");
                        (source - first) / E::TERMS
                    }
                };
                segments.push(Segment { a, b: tap * tap_units, len: tap_units });
            }
            starts.push(segments.len());
        }
        Self { a, cut, positions, in_place, list, segments, starts }
    }

    fn taps(&self, position: usize) -> Range<usize> {
        self.starts[position]..self.starts[position + 1]
    }

    /// The contents of the rows at a position.
    fn segments(&self, position: usize) -> &[Segment] {
        &self.segments[self.taps(position)]
    }

    /// Returns the start of the rows of `images` at `position`, and their stride, in units. Copies the rows to `copy`
    /// if they cannot be read in place.
    fn read(&self, position: usize, images: &Range<usize>, copy: &mut [f32]) -> (*const f32, usize) {
        let &Cut { inner, tap_units, images: all, .. } = self.cut;
        let list = &self.list[self.taps(position)];
        match self.a {
            Rows::Maps(a) if self.in_place => (a[images.start * inner..].as_ptr().cast(), inner / E::TERMS),
            Rows::Maps(a) => {
                let stride = self.cut.copy_stride();
                for (place, &(_, source)) in list.iter().enumerate() {
                    for (copy, image) in copy.chunks_mut(stride).zip(images.clone()) {
                        let row = &a[(source * all + image) * inner..][..inner];
                        copy_units(&mut copy[place * tap_units..][..tap_units], row);
                    }
                }
                (copy.as_ptr(), stride)
            }
            Rows::Lines { values, image } => {
                let first = list.first().map_or(0, |&(_, source)| source);
                (values[first + images.start * image..].as_ptr().cast(), image / E::TERMS)
            }
        }
    }

    /// Prefetches a share (`part` of `parts`) of the rows that the next tile reads, if they are the next rows of the
    /// only position. The processor does not predict these short runs.
    fn fetch_ahead(&self, next: usize, part: usize, parts: usize) {
        let Rows::Maps(a) = self.a else { return };
        if self.cut.taps == 1 && self.positions == 1 {
            let rows = next * self.cut.inner..((next + self.cut.isa.rows()) * self.cut.inner).min(a.len());
            let share = super::partition::part(rows.len(), parts, part);
            let line = 64 / size_of::<E>();
            (rows.start + share.start..rows.start + share.end).step_by(line).for_each(|at| vector::fetch(&a[at]));
        }
    }
}

/// Returns units as the elements that they hold.
pub fn elements_mut<E: Element>(units: &mut [f32]) -> &mut [E] {
    // SAFETY: an f32 has the size of TERMS elements of E, at least their alignment, and any bits are an element.
    unsafe { std::slice::from_raw_parts_mut(units.as_mut_ptr().cast(), units.len() * E::TERMS) }
}

/// Copies a row into units. The last unit is padded with zeros.
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
    /// Positions that are adjacent in a line, and read adjacent positions of b.
    pub line: usize,
}

/// c += aᵀ b, where `source(tap, position)` is the position of b that a tap reads, if any.
///
/// If c is small compared to the operands, the images are cut into parts. Each task packs a part of both operands,
/// block by block, into its own cache and sums it up; then the sums are joined in order. Otherwise all tasks together
/// pack a block of both operands and then share its tiles of c.
pub fn accumulate<E: Element, F: Maker<E>>(
    isa: Isa,
    c: &mut [f32],
    a: &[E],
    b: &Terms<E, F>,
    sizes: &Accumulated,
    source: impl Fn(usize, usize) -> Option<usize>,
) {
    assert!(c.len() == sizes.rows * sizes.taps * sizes.columns, "accumulate: sizes do not fit");
    assert!(a.len() == sizes.positions * sizes.images * sizes.rows, "accumulate: sizes do not fit");
    if c.is_empty() || a.is_empty() {
        return;
    }
    let whole = Meetings::new(sizes.taps, 0..sizes.positions, &source);
    if let Some(parts) = sizes.parts(isa, E::TERMS, &whole) {
        return accumulate_apart(isa, c, a, b, sizes, &whole, &parts);
    }
    let (image_blocks, position_blocks) = sizes.blocks(isa, E::TERMS);
    let meetings = match position_blocks {
        1 => vec![whole],
        _ => (0..position_blocks)
            .map(|block| Meetings::new(sizes.taps, part(sizes.positions, position_blocks, block), &source))
            .collect(),
    };
    for block in 0..image_blocks * position_blocks {
        let images = part(sizes.images, image_blocks, block / position_blocks);
        let block = Block::new(isa, sizes, images, &meetings[block % position_blocks], E::TERMS);
        with_scratch(block.a_units() + block.b_units(), |scratch| {
            block.pack(scratch, a, b, Crew::All);
            block.add::<E>(c, scratch, Crew::All);
        });
    }
}

/// Runs `accumulate` by parts of the images.
fn accumulate_apart<E: Element, F: Maker<E>>(
    isa: Isa,
    c: &mut [f32],
    a: &[E],
    b: &Terms<E, F>,
    sizes: &Accumulated,
    whole: &Meetings,
    &Parts { count, blocks }: &Parts,
) {
    let len = c.len();
    with_scratch(count * len, |sums| {
        let of_parts = Shared::new(sums);
        for_each(count, |index| {
            // SAFETY: tasks differ in their part.
            let sums = unsafe { of_parts.slice(index * len, len) };
            sums.fill(0.0);
            for block in index * blocks..(index + 1) * blocks {
                let block = Block::new(isa, sizes, part(sizes.images, count * blocks, block), whole, E::TERMS);
                with_scratch(block.a_units() + block.b_units(), |scratch| {
                    block.pack(scratch, a, b, Crew::Alone);
                    block.add::<E>(sums, scratch, Crew::Alone);
                });
            }
        });
        let (sums, c, piece_len) = (&*sums, Shared::new(c), PIECE / count);
        for_each(len.div_ceil(piece_len), |piece| {
            let range = piece * piece_len..len.min((piece + 1) * piece_len);
            // SAFETY: the pieces are disjoint.
            let c = unsafe { c.slice(range.start, range.len()) };
            with_wide_vectors(|| {
                for of_part in sums.chunks_exact(len) {
                    c.iter_mut().zip(&of_part[range.clone()]).for_each(|(c, sum)| *c += sum);
                }
            });
        });
    });
}

/// How `accumulate` is cut if parts of the images are summed separately.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    count: usize,
    /// Blocks per part. One block fits into a cache.
    blocks: usize,
}

/// The threads that do the work of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crew {
    /// All threads; this thread waits for them.
    All,
    /// This thread only.
    Alone,
}

impl Crew {
    fn for_each(self, count: usize, body: impl Fn(usize) + Sync + Send) {
        match self {
            Self::All => for_each(count, body),
            Self::Alone => (0..count).for_each(body),
        }
    }
}

impl Accumulated {
    /// Returns the number of ranges of images, and of positions, that the terms are cut into.
    fn blocks(&self, isa: Isa, unit_terms: usize) -> (usize, usize) {
        let &Self { rows, taps, columns, images, positions, line } = self;
        // Windows of several taps also read the lines next to those of a block.
        let of_b = columns * if taps > 1 { 2 } else { 1 };
        let of_term = rows * isa.lanes() / isa.rows() + of_b;
        let terms = (ACCUMULATED * unit_terms / of_term).max(64);
        let image_blocks = images.div_ceil(if positions == 1 { terms } else { terms.min(512) });
        let block = (terms / images.div_ceil(image_blocks).max(1)).max(1);
        let block = if block < line { block } else { block / line * line };
        (image_blocks, positions.div_ceil(block))
    }

    /// Returns the parts of the images that are summed separately, if that is faster: the runs must be long, and
    /// joining the sums, which stay in the third-level cache, must cost little compared to packing.
    fn parts(&self, isa: Isa, unit_terms: usize, whole: &Meetings) -> Option<Parts> {
        let a = self.positions * self.rows.div_ceil(isa.rows()) * isa.lanes();
        let b = whole.slots.len() * self.columns.div_ceil(isa.columns()) * isa.columns();
        let units = self.images.div_ceil(unit_terms);
        let fitting = (ALONE / (a + b)).max(1);
        let most_sums = (units * (a + b) / 2).min(ACCUMULATED);
        let most = (most_sums / (self.rows * self.taps * self.columns)).min(units / 4).min(TASKS) / PARTS * PARTS;
        let count = units.div_ceil(fitting).next_multiple_of(PARTS).min(most);
        (count > 0).then(|| Parts { count, blocks: units.div_ceil(count).div_ceil(fitting) })
    }
}

/// The positions of b that some positions of a read.
struct Meetings {
    positions: Range<usize>,
    /// The positions of b, in order.
    slots: Vec<usize>,
    /// For each tap, in order: the index of a position of a, and the index of the slot that it reads.
    of_taps: Vec<Vec<(usize, usize)>>,
}

impl Meetings {
    fn new(taps: usize, positions: Range<usize>, source: &impl Fn(usize, usize) -> Option<usize>) -> Self {
        let of_tap = |tap| positions.clone().enumerate().filter_map(move |(place, p)| Some((place, source(tap, p)?)));
        let mut of_taps: Vec<Vec<(usize, usize)>> = (0..taps).map(|tap| of_tap(tap).collect()).collect();
        let mut slots: Vec<usize> = of_taps.iter().flatten().map(|&(_, source)| source).collect();
        slots.sort_unstable();
        slots.dedup();
        for (_, source) in of_taps.iter_mut().flatten() {
            *source = slots.binary_search(source).expect("every source has its slot");
        }
        Self { positions, slots, of_taps }
    }
}

/// Some images at some positions, as terms of an `accumulate`.
struct Block<'s> {
    isa: Isa,
    sizes: &'s Accumulated,
    images: Range<usize>,
    meetings: &'s Meetings,
    /// For each tap, the location of its terms in the packed operands.
    segments: Vec<Vec<Segment>>,
    /// Units of the images at one position.
    len: usize,
    row_tiles: usize,
    panels: usize,
}

impl<'s> Block<'s> {
    fn new(isa: Isa, sizes: &'s Accumulated, images: Range<usize>, meetings: &'s Meetings, unit_terms: usize) -> Self {
        let len = images.len().div_ceil(unit_terms);
        let of_tap = |meetings: &Vec<(usize, usize)>| {
            let mut segments = Vec::new();
            for &(place, slot) in meetings {
                push_joined(&mut segments, Segment { a: place * len, b: slot * len, len });
            }
            segments
        };
        let segments = meetings.of_taps.iter().map(of_tap).collect();
        let (row_tiles, panels) = (sizes.rows.div_ceil(isa.rows()), sizes.columns.div_ceil(isa.columns()));
        Self { isa, sizes, images, meetings, segments, len, row_tiles, panels }
    }

    /// Units of the packed rows of one tile.
    fn a_panel(&self) -> usize {
        self.meetings.positions.len() * self.len * self.isa.lanes()
    }

    /// Units of the packed columns of one tile.
    fn b_panel(&self) -> usize {
        self.meetings.slots.len() * self.len * self.isa.columns()
    }

    fn a_units(&self) -> usize {
        self.row_tiles * self.a_panel()
    }

    fn b_units(&self) -> usize {
        self.panels * self.b_panel()
    }

    fn rows(&self, tile: usize) -> Range<usize> {
        tile_rows(self.sizes.rows, self.isa.rows(), tile)
    }

    /// The first row of a that is packed for a tile. A whole vector of rows is packed if a has that many, so that no
    /// vector is loaded partially.
    fn first_packed(&self, tile: usize) -> usize {
        self.rows(tile).start.min(self.sizes.rows.saturating_sub(self.isa.lanes()))
    }

    fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.isa.columns();
        first..(first + self.isa.columns()).min(self.sizes.columns)
    }

    /// Packs a and then b into `scratch`, panel by panel, each position by position.
    fn pack<E: Element, F: Maker<E>>(&self, scratch: &mut [f32], a: &[E], b: &Terms<E, F>, crew: Crew) {
        // Runs have an even number of images, so that both terms of a unit lie in the same run.
        let runs = self.images.len().div_ceil(RUN);
        let (positions, slots) = (self.meetings.positions.len(), self.meetings.slots.len());
        let places = positions + slots;
        let scratch = Shared::new(scratch);
        let elements = self.images.len() * (positions * self.sizes.rows + slots * self.sizes.columns);
        let tasks = if crew == Crew::Alone { 1 } else { (elements / PIECE).clamp(1, TASKS).min(places * runs) };
        crew.for_each(tasks, |task| {
            let mut made = Vec::new();
            for index in part(places * runs, tasks, task) {
                let (place, run) = (index / runs, index % runs * RUN);
                let images = self.images.start + run..(self.images.start + run + RUN).min(self.images.end);
                match place.checked_sub(positions) {
                    None => self.pack_a(&scratch, a, place, run, &images),
                    Some(slot) => self.pack_b(&scratch, b, slot, run, &images, &mut made),
                }
            }
        });
    }

    fn pack_a<E: Element>(&self, scratch: &Shared<f32>, a: &[E], place: usize, run: usize, images: &Range<usize>) {
        let (isa, all) = (self.isa, self.sizes.rows);
        let of_tile = |tile: usize| Panel {
            first: self.first_packed(tile),
            start: tile * self.a_panel() + (place * self.len + run / E::TERMS) * isa.lanes(),
            pitch: isa.lanes(),
        };
        let panels: Vec<Panel> = (0..self.row_tiles).map(of_tile).collect();
        let first = (self.meetings.positions.start + place) * self.sizes.images + images.start;
        // SAFETY: tasks differ in their position or their images.
        unsafe { pack::rows::<E, E>(isa, scratch, &panels, images.len(), |r| &a[(first + r) * all..][..all]) };
    }

    fn pack_b<E: Element, F: Maker<E>>(
        &self,
        scratch: &Shared<f32>,
        b: &Terms<E, F>,
        slot: usize,
        run: usize,
        images: &Range<usize>,
        made: &mut Vec<E>,
    ) {
        let (isa, all) = (self.isa, self.sizes.columns);
        let (rows, pitch, len) = match b {
            Terms::Maps(b) => (&b[(self.meetings.slots[slot] * self.sizes.images + images.start) * all..], all, all),
            Terms::Made(make) => {
                // Made rows are whole vectors. The values beyond the columns enter no result.
                let len = isa.width(all);
                let pitch = len + SLACK;
                made.resize(images.len() * pitch, E::default());
                make(self.meetings.slots[slot], images.clone(), made, pitch);
                (&made[..], pitch, len)
            }
        };
        let of_panel = |panel: usize| {
            let pitch = isa.width(self.columns(panel).len());
            let start = self.a_units() + panel * self.b_panel() + (slot * self.len + run / E::TERMS) * pitch;
            Panel { first: self.columns(panel).start, start, pitch }
        };
        let panels: Vec<Panel> = (0..self.panels).map(of_panel).collect();
        // SAFETY: tasks differ in their slot or their images.
        unsafe { pack::rows::<E, E>(isa, scratch, &panels, images.len(), |r| &rows[r * pitch..][..len]) };
    }

    /// Adds the block's terms to c.
    fn add<E: Element>(&self, c: &mut [f32], packed: &[f32], crew: Crew) {
        let &Accumulated { rows, taps, columns, .. } = self.sizes;
        let terms = self.images.len() * self.meetings.positions.len();
        let wanted = ((rows * taps * columns).saturating_mul(terms) / TASK).clamp(1, TASKS);
        let groups = wanted.div_ceil(taps * self.panels).clamp(1, self.row_tiles);
        let c = Shared::new(c);
        crew.for_each(groups * taps * self.panels, |task| {
            let (group, tap, panel) = (task / (taps * self.panels), task / self.panels % taps, task % self.panels);
            if self.segments[tap].is_empty() {
                return;
            }
            let range = self.columns(panel);
            for tile in part(self.row_tiles, groups, group) {
                let rows = self.rows(tile);
                let c = c.pointer((rows.start * taps + tap) * columns + range.start);
                let tile = Tile {
                    c,
                    c_stride: taps * columns,
                    onto: c.cast_const(),
                    bias: std::ptr::null(),
                    a: packed[tile * self.a_panel() + rows.start - self.first_packed(tile)..].as_ptr(),
                    b: packed[self.a_units() + panel * self.b_panel()..].as_ptr(),
                    operands: Operands::Terms { a: self.isa.lanes(), b: self.isa.width(range.len()) },
                    segments: &self.segments[tap],
                    rows: rows.len(),
                    columns: range.len(),
                };
                // SAFETY: the segments name rows that `pack` wrote. Tasks differ in their tap, rows or columns, so no
                // two tasks write the same element.
                unsafe { tile::tile::<E, f32>(self.isa, &tile) };
            }
        });
    }
}

/// Appends a segment. Extends the last segment instead if the new one continues it.
fn push_joined(segments: &mut Vec<Segment>, next: Segment) {
    match segments.last_mut() {
        Some(last) if last.a + last.len == next.a && last.b + last.len == next.b => last.len += next.len,
        _ => segments.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_weights_are_summed_in_parts_and_many_are_not() {
        let parts = |rows, columns, side: usize, images| {
            let positions = side * side;
            let sizes = Accumulated { rows, taps: 1, columns, images, positions, line: side };
            let whole = Meetings::new(1, 0..positions, &|_, position| Some(position));
            sizes.parts(Isa::Avx512Bf16, 2, &whole)
        };
        assert_eq!(parts(32, 32, 16, 256), Some(Parts { count: 16, blocks: 1 }));
        assert_eq!(parts(64, 64, 8, 256), Some(Parts { count: 8, blocks: 1 }));
        assert_eq!(parts(512, 512, 2, 256), None, "many weights");
        assert_eq!(parts(32, 32, 16, 16), None, "runs of two images");
        // Many images: the number of parts is limited, so that their sums stay in a cache.
        assert_eq!(parts(512, 128, 1, 73728), Some(Parts { count: 16, blocks: 12 }));
    }

    #[test]
    fn meetings_name_each_position_once() {
        let meetings = Meetings::new(2, 1..4, &|tap, position| (tap + position < 4).then_some(2 * (tap + position)));
        assert_eq!(meetings.slots, [2, 4, 6]);
        assert_eq!(meetings.of_taps, [vec![(0, 0), (1, 1), (2, 2)], vec![(0, 1), (1, 2)]]);
    }
}
