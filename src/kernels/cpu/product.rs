//! Whole products from register tiles: how the work is cut, packed and put together. Convolution, linear layers and
//! matrix products differ only in what they pass here.
//!
//! The batch is inside (`Layout::Maps`), so at one position a map is a dense matrix (images, channels), and a convolution
//! is a sum of dense products, one for each tap of the kernel that meets the image: padding is never multiplied.
//!
//! - `gather`: outputs and input gradients. Rows of c are images at a position. Activations are read in place, weights
//!   are packed by the task that uses them.
//! - `accumulate`: weight gradients. The inner dimension runs over images and positions. Both operands are packed, in
//!   blocks that stay in the third-level cache.

use std::ops::Range;

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
use super::tile::Operands;
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
/// Units of both operands that `accumulate` packs at a time: they stay in a third-level cache.
const ACCUMULATED: usize = 1024 * 1024;
/// Images that are packed in one go; even.
const RUN: usize = 64;
/// Rows of this many bytes, or a multiple, all fall into the same few places of a first-level cache.
const ALIAS: usize = 4096;

/// The rows of a in `gather`: `inner` elements for each image and source.
#[derive(Clone, Copy)]
pub enum Rows<'a, E> {
    /// (positions, images, inner): sources are positions.
    Maps(&'a [E]),
    /// Lines of windows: sources are elements of an image, and those of one position lie whole units apart. What follows
    /// a row, up to a whole unit, is multiplied by zero.
    Lines {
        values: &'a [E],
        /// Elements from one image to the next, whole units.
        image: usize,
    },
}

/// The rows of b in `accumulate`.
pub enum Terms<'a, E, F> {
    /// (positions, images, columns).
    Maps(&'a [E]),
    /// Written by `make(position, images, rows, pitch)`: `columns` elements for each of the images, `pitch` apart. Up to
    /// `SLACK` elements behind a row may be written, too.
    Made(F),
}

/// What writes `Terms::Made`.
pub trait Maker<E>: Fn(usize, Range<usize>, &mut [E], usize) + Sync {}
impl<E, F: Fn(usize, Range<usize>, &mut [E], usize) + Sync> Maker<E> for F {}

/// No rows are made.
pub type NoMaker<E> = fn(usize, Range<usize>, &mut [E], usize);

/// Elements behind a row that its maker may write.
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
pub fn gather<E: Element>(
    isa: Isa,
    c: &mut [E],
    added: Added<E>,
    a: Rows<E>,
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
                    let (a, stride) = reader.read(position, &rows, &sources);
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
                            b: packed[panel * cut.panel_units..].as_ptr(),
                            operands: Operands::Rows { stride },
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
struct Reader<'r, E> {
    a: Rows<'r, E>,
    cut: &'r Cut,
    list: Vec<(usize, usize)>,
    segments: Vec<Segment>,
    copy: &'r mut [f32],
}

impl<E: Element> Reader<'_, E> {
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
            Rows::Maps(a) if inner.is_multiple_of(E::TERMS) && !(inner * size_of::<E>()).is_multiple_of(ALIAS) => {
                let start = images.start * inner;
                for &(tap, source) in &self.list {
                    let end = (source * all + images.end) * inner;
                    assert!(end <= a.len(), "gather: position {source} lies outside a");
                    let a = source * all * inner / E::TERMS;
                    self.segments.push(Segment { a, b: tap * tap_units, len: tap_units });
                }
                (a[start..].as_ptr().cast(), inner / E::TERMS)
            }
            Rows::Maps(a) => {
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
            Rows::Lines { values, image } => {
                let first = self.list.first().map_or(0, |&(_, source)| source);
                for &(tap, source) in &self.list {
                    let end = source + (images.end - 1) * image + tap_units * E::TERMS;
                    let whole = (source - first).is_multiple_of(E::TERMS) && image.is_multiple_of(E::TERMS);
                    assert!(whole && end <= values.len(), "gather: no line at {source}");
                    let a = (source - first) / E::TERMS;
                    self.segments.push(Segment { a, b: tap * tap_units, len: tap_units });
                }
                (values[first + images.start * image..].as_ptr().cast(), image / E::TERMS)
            }
        }
    }

    /// Asks the memory for a share, `part` of `parts`, of the rows that the next tile reads, where it reads neighbouring
    /// rows of one position: short runs that the processor does not foresee.
    fn fetch_ahead(&self, next: usize, part: usize, parts: usize) {
        let Rows::Maps(a) = self.a else { return };
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
/// The terms are taken in blocks. All tasks first pack a block of both operands, and then share out its tiles of c.
pub fn accumulate<E: Element, F: Maker<E>>(
    isa: Isa,
    c: &mut [f32],
    a: &[E],
    b: &Terms<E, F>,
    sizes: &Accumulated,
    source: impl Fn(usize, usize) -> Option<usize> + Sync,
) {
    assert!(c.len() == sizes.rows * sizes.taps * sizes.columns, "accumulate: sizes do not fit");
    assert!(a.len() == sizes.positions * sizes.images * sizes.rows, "accumulate: sizes do not fit");
    if c.is_empty() || a.is_empty() {
        return;
    }
    let (image_blocks, position_blocks) = sizes.blocks(isa, E::TERMS);
    for block in 0..image_blocks * position_blocks {
        let images = part(sizes.images, image_blocks, block / position_blocks);
        let positions = part(sizes.positions, position_blocks, block % position_blocks);
        let block = Block::new(isa, sizes, images, positions, E::TERMS, &source);
        with_scratch(block.a_units() + block.b_units(), |scratch| {
            block.pack(scratch, a, b);
            block.add::<E>(c, scratch);
        });
    }
}

impl Accumulated {
    /// How many ranges of images, and of positions, the terms are cut into.
    fn blocks(&self, isa: Isa, unit_terms: usize) -> (usize, usize) {
        let &Self { rows, taps, columns, images, positions, line } = self;
        // A window of several taps draws on the lines next to those of a block, too.
        let of_b = columns * if taps > 1 { 2 } else { 1 };
        let of_term = rows * isa.lanes() / isa.rows() + of_b;
        let terms = (ACCUMULATED * unit_terms / of_term).max(64);
        let image_blocks = images.div_ceil(if positions == 1 { terms } else { terms.min(512) });
        let block = (terms / images.div_ceil(image_blocks).max(1)).max(1);
        let block = if block < line { block } else { block / line * line };
        (image_blocks, positions.div_ceil(block))
    }
}

/// Some images at some positions, as terms of an `accumulate`.
struct Block<'s> {
    isa: Isa,
    sizes: &'s Accumulated,
    images: Range<usize>,
    positions: Range<usize>,
    /// The positions of b that the block draws on, in order.
    slots: Vec<usize>,
    /// For each tap, where its terms lie in the packed operands.
    segments: Vec<Vec<Segment>>,
    /// Units of the images at one position.
    len: usize,
    row_tiles: usize,
    panels: usize,
}

impl<'s> Block<'s> {
    fn new(
        isa: Isa,
        sizes: &'s Accumulated,
        images: Range<usize>,
        positions: Range<usize>,
        unit_terms: usize,
        source: &impl Fn(usize, usize) -> Option<usize>,
    ) -> Self {
        let len = images.len().div_ceil(unit_terms);
        let mut slots: Vec<usize> =
            (0..sizes.taps).flat_map(|tap| positions.clone().filter_map(move |p| source(tap, p))).collect();
        slots.sort_unstable();
        slots.dedup();
        let of_tap = |tap| {
            let mut segments = Vec::new();
            for (place, position) in positions.clone().enumerate() {
                let Some(source) = source(tap, position) else { continue };
                let slot = slots.binary_search(&source).expect("every source has its slot");
                push_joined(&mut segments, Segment { a: place * len, b: slot * len, len });
            }
            segments
        };
        let segments = (0..sizes.taps).map(of_tap).collect();
        let (row_tiles, panels) = (sizes.rows.div_ceil(isa.rows()), sizes.columns.div_ceil(isa.columns()));
        Self { isa, sizes, images, positions, slots, segments, len, row_tiles, panels }
    }

    /// Units of the packed rows of one tile.
    fn a_panel(&self) -> usize {
        self.positions.len() * self.len * self.isa.lanes()
    }

    /// Units of the packed columns of one tile.
    fn b_panel(&self) -> usize {
        self.slots.len() * self.len * self.isa.columns()
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

    /// The first row of a that is packed for a tile: a whole vector of them, so that none is loaded in part, where a has
    /// as many.
    fn first_packed(&self, tile: usize) -> usize {
        self.rows(tile).start.min(self.sizes.rows.saturating_sub(self.isa.lanes()))
    }

    fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.isa.columns();
        first..(first + self.isa.columns()).min(self.sizes.columns)
    }

    /// Packs a and then b into `scratch`, panel by panel, each position by position.
    fn pack<E: Element, F: Maker<E>>(&self, scratch: &mut [f32], a: &[E], b: &Terms<E, F>) {
        // Runs of an even number of images, so that both terms of a unit lie in one.
        let runs = self.images.len().div_ceil(RUN);
        let places = self.positions.len() + self.slots.len();
        let scratch = Shared::new(scratch);
        let elements =
            self.images.len() * (self.positions.len() * self.sizes.rows + self.slots.len() * self.sizes.columns);
        let tasks = (elements / PIECE).clamp(1, TASKS).min(places * runs);
        for_each(tasks, |task| {
            let mut made = Vec::new();
            for index in part(places * runs, tasks, task) {
                let (place, run) = (index / runs, index % runs * RUN);
                let images = self.images.start + run..(self.images.start + run + RUN).min(self.images.end);
                match place.checked_sub(self.positions.len()) {
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
        let first = (self.positions.start + place) * self.sizes.images + images.start;
        // SAFETY: tasks differ in their place or their images.
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
            Terms::Maps(b) => (&b[(self.slots[slot] * self.sizes.images + images.start) * all..], all, all),
            Terms::Made(make) => {
                // Made rows have whole vectors: what stands beyond the columns meets none.
                let len = isa.width(all);
                let pitch = len + SLACK;
                made.resize(images.len() * pitch, E::default());
                make(self.slots[slot], images.clone(), made, pitch);
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
    fn add<E: Element>(&self, c: &mut [f32], packed: &[f32]) {
        let &Accumulated { rows, taps, columns, .. } = self.sizes;
        let terms = self.images.len() * self.positions.len();
        let wanted = ((rows * taps * columns).saturating_mul(terms) / TASK).clamp(1, TASKS);
        let groups = wanted.div_ceil(taps * self.panels).clamp(1, self.row_tiles);
        let c = Shared::new(c);
        for_each(groups * taps * self.panels, |task| {
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
                // SAFETY: the segments name rows that `pack` wrote; tasks differ in their tap, rows or columns, so no
                // two write the same element.
                unsafe { tile::tile::<E, f32>(self.isa, &tile) };
            }
        });
    }
}

/// Appends a segment, as part of the last one where it goes on from there.
fn push_joined(segments: &mut Vec<Segment>, next: Segment) {
    match segments.last_mut() {
        Some(last) if last.a + last.len == next.a && last.b + last.len == next.b => last.len += next.len,
        _ => segments.push(next),
    }
}
