//! How the kernels that memory limits go over a matrix of rows: in tiles of a few rows by one vector of columns, in
//! pieces that depend on sizes alone; and sums over rows.

use std::ops::Range;

use super::isa::Isa;
use super::isa::isa;
use super::isa::with_wide_vectors;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::with_scratch;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// Elements of one piece: some 10 us of work, and a piece of two operands stays in the second-level cache.
pub const PIECE: usize = 32 * 1024;

/// A sum over rows is cut into this many tasks at most, so that joining them costs nothing to speak of.
const TASKS: usize = 64;

/// Columns of one block of a sum over rows, at most: the sums stay in the first-level cache beside the rows of a tile.
const WIDTH: usize = 1024;

/// Rows of more columns than this are gone over one by one: several at once are more streams than the processor fetches
/// ahead, and where their length is a power of two they share one set of the first-level cache.
const NARROW: usize = 128;

/// Neighbouring columns: a whole vector, or fewer at the end of a row.
#[derive(Clone, Copy)]
pub struct Span {
    pub start: usize,
    fewer: Option<usize>,
}

/// The start of a borrowed slice that tiles write to, each its own elements.
#[derive(Debug)]
pub struct Output<E>(*mut E);

// SAFETY: an `Output` only hands out raw pointers; who writes through them answers for no two tasks touching the same
// element.
unsafe impl<E: Send> Sync for Output<E> {}
// SAFETY: as for `Sync`.
unsafe impl<E: Send> Send for Output<E> {}

impl<E> Clone for Output<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Output<E> {}

impl<E> Output<E> {
    /// The borrow that the caller holds must outlive the tasks.
    pub fn new(slice: &mut [E]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The same slice from the element at `offset` on.
    pub fn from(self, offset: usize) -> Self {
        Self(self.0.wrapping_add(offset))
    }

    /// A pointer to the element at `offset`.
    #[inline(always)]
    pub fn at(self, offset: usize) -> *mut E {
        self.0.wrapping_add(offset)
    }
}

static ONES: [f32; 16] = [1.0; 16];

impl Span {
    /// The elements from `at` + the span's start; lanes beyond the span are zero.
    ///
    /// # Safety
    /// The span must lie in the memory after `at`, with the instruction set of V enabled in the caller.
    #[inline(always)]
    pub unsafe fn load<E: Element, V: Vector>(self, at: *const E) -> V {
        unsafe {
            match self.fewer {
                None => E::load(at.add(self.start)),
                Some(count) => E::load_first(at.add(self.start), count),
            }
        }
    }

    /// # Safety
    /// As for `load`.
    #[inline(always)]
    pub unsafe fn store<E: Element, V: Vector>(self, at: *mut E, vector: V) {
        unsafe {
            match self.fewer {
                None => E::store(at.add(self.start), vector),
                Some(count) => E::store_first(at.add(self.start), vector, count),
            }
        }
    }

    /// # Safety
    /// As for `load`.
    #[inline(always)]
    pub unsafe fn load_bytes<V: Vector>(self, at: *const u8) -> V {
        unsafe {
            match self.fewer {
                None => V::load_bytes(at.add(self.start)),
                Some(count) => V::load_bytes_first(at.add(self.start), count),
            }
        }
    }

    /// # Safety
    /// As for `load`.
    #[inline(always)]
    pub unsafe fn store_bytes<V: Vector>(self, at: *mut u8, vector: V) {
        unsafe {
            match self.fewer {
                None => vector.store_bytes(at.add(self.start)),
                Some(count) => vector.store_bytes_first(at.add(self.start), count),
            }
        }
    }

    /// The vector with `other` in the lanes beyond the span.
    ///
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    #[inline(always)]
    pub unsafe fn or<V: Vector>(self, vector: V, other: f32) -> V {
        match self.fewer {
            None => vector,
            // SAFETY: `fewer` is below the lanes of V, and no vector has more than 16.
            Some(count) => unsafe {
                V::load_first(ONES.as_ptr(), count).choose_if_larger(V::splat(0.5), vector, V::splat(other))
            },
        }
    }
}

/// The spans of `columns` in vectors of V, in order.
pub fn spans<V: Vector>(columns: Range<usize>) -> impl Iterator<Item = Span> {
    let whole = columns.len() / V::LANES;
    let rest = columns.len() % V::LANES;
    let end = columns.start + whole * V::LANES;
    let spans = (0..whole).map(move |index| Span { start: columns.start + index * V::LANES, fewer: None });
    spans.chain((rest > 0).then_some(Span { start: end, fewer: Some(rest) }))
}

/// Work on a matrix, tile by tile: the slices and numbers that it needs, as a value, so that they stay in registers while
/// tiles are written. Mark `tile`, and all that it calls, `#[inline(always)]`.
pub trait Tiled: Copy + Sync {
    /// Rows of a tile where rows are short: what does not change from row to row is then loaded once.
    const HEIGHT: usize;

    /// # Safety
    /// The tile must lie in the matrix, no other task may write to it, and the instruction set of V must be enabled in
    /// the caller.
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span);
}

/// Does `work` on a part of its matrix, on this thread.
///
/// # Safety
/// The part must lie in the matrix, and no other task may write to it.
pub unsafe fn sweep<T: Tiled>(isa: Isa, work: T, rows: Range<usize>, columns: Range<usize>) {
    run(isa, Sweep { work, rows, columns });
}

/// Does `work` on a whole matrix.
///
/// # Safety
/// The matrix must be `rows` by `columns`, and only `work` may write to it.
pub unsafe fn sweep_all<T: Tiled>(work: T, rows: usize, columns: usize) {
    let isa = isa();
    let height = (PIECE / columns.max(1)).next_multiple_of(T::HEIGHT).max(T::HEIGHT);
    for_each(rows.div_ceil(height), |piece| {
        let rows = piece * height..rows.min((piece + 1) * height);
        // SAFETY: the pieces are disjoint parts of the matrix.
        unsafe { sweep(isa, work, rows, 0..columns) };
    });
}

/// Does `work` on a whole vector, a matrix of one row.
///
/// # Safety
/// The vector must be of length `len`, and only `work` may write to it.
pub unsafe fn sweep_vector<T: Tiled>(work: T, len: usize) {
    let isa = isa();
    for_each(len.div_ceil(PIECE), |piece| {
        // SAFETY: the pieces are disjoint parts of the vector.
        unsafe { sweep(isa, work, 0..1, piece * PIECE..len.min((piece + 1) * PIECE)) };
    });
}

struct Sweep<T> {
    work: T,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T: Tiled> Kernel for Sweep<T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { work, rows, columns } = self;
        let mut row = rows.start;
        // The heights are constants, so that a tile's rows are unrolled.
        // SAFETY: `sweep`'s contract, and `run` enables the set.
        unsafe {
            while columns.len() <= NARROW && row + T::HEIGHT <= rows.end {
                strip::<V, T>(work, row, T::HEIGHT, columns.clone());
                row += T::HEIGHT;
            }
            while row < rows.end {
                strip::<V, T>(work, row, 1, columns.clone());
                row += 1;
            }
        }
    }
}

/// One tile after another, in the order of the columns.
#[inline(always)]
unsafe fn strip<V: Vector, T: Tiled>(work: T, row: usize, height: usize, columns: Range<usize>) {
    let mut column = columns.start;
    // SAFETY: `sweep`'s contract.
    unsafe {
        while column + V::LANES <= columns.end {
            work.tile::<V>(row..row + height, Span { start: column, fewer: None });
            column += V::LANES;
        }
        if column < columns.end {
            let fewer = Some(columns.end - column);
            work.tile::<V>(row..row + height, Span { start: column, fewer });
        }
    }
}

/// What the elements of a matrix add to the K sums of their column.
pub trait Summand<const K: usize>: Copy + Sync {
    /// The sums over a tile; lanes beyond the span may hold anything.
    ///
    /// # Safety
    /// As for `Tiled::tile`.
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; K];

    /// Is called before the sums over a block of whole rows are taken, for work on the same rows.
    ///
    /// # Safety
    /// No other task may work on these rows.
    unsafe fn prepare(&self, _isa: Isa, _rows: Range<usize>) {}
}

/// The elements of x (rows, columns) as what is summed.
#[derive(Clone, Copy)]
pub struct Rows<'a, E> {
    pub x: &'a [E],
    pub columns: usize,
}

impl<E: Element> Summand<1> for Rows<'_, E> {
    #[inline(always)]
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; 1] {
        // SAFETY: the caller's: the tile lies in x.
        unsafe {
            let mut sum = V::splat(0.0);
            for row in rows {
                sum = sum.add(span.load(self.x.as_ptr().add(row * self.columns)));
            }
            [sum]
        }
    }
}

/// The K sums of each column, over whole rows at a time or, without `whole`, over parts of long rows.
///
/// A block is summed in f32; blocks are joined in f64, in order.
///
/// # Safety
/// The matrix of `summand` must be `rows` by `columns`.
pub unsafe fn column_sums<const K: usize, S: Summand<K>>(
    summand: S,
    rows: usize,
    columns: usize,
    whole: bool,
) -> [Vec<f64>; K] {
    if rows * columns == 0 {
        return [(); K].map(|()| vec![0.0; columns]);
    }
    let isa = isa();
    let chunks = if whole { 1 } else { columns.div_ceil(WIDTH) };
    let height = (PIECE * chunks / columns).max(8).next_multiple_of(8);
    let blocks = rows.div_ceil(height);
    let tasks = blocks.min((TASKS / chunks).max(1));
    let mut partial = vec![0.0f64; tasks * K * columns];
    let shared = Shared::new(&mut partial);
    for_each(tasks * chunks, |index| {
        let (task, columns_of) = (index / chunks, part(columns, chunks, index % chunks));
        let width = columns_of.len();
        let mut totals = [(); K].map(|()| vec![0.0f64; width]);
        with_scratch(K * width, |sums| {
            for block in part(blocks, tasks, task) {
                let rows = block * height..rows.min((block + 1) * height);
                // SAFETY: the block lies in the matrix, and no other task has its rows where the block is whole.
                unsafe {
                    summand.prepare(isa, rows.clone());
                    block_sums(isa, summand, sums, rows, columns_of.clone());
                }
                with_wide_vectors(|| {
                    for (totals, sums) in totals.iter_mut().zip(sums.chunks_exact(width)) {
                        totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
                    }
                });
            }
        });
        for (k, totals) in totals.iter().enumerate() {
            let to = shared.pointer((task * K + k) * columns + columns_of.start);
            // SAFETY: no other task has this range of rows and columns.
            unsafe { to.copy_from_nonoverlapping(totals.as_ptr(), width) };
        }
    });
    let mut partial = partial.chunks_exact(columns);
    let mut totals = [(); K].map(|()| partial.next().expect("a task").to_vec());
    for (at, partial) in partial.enumerate() {
        totals[at % K].iter_mut().zip(partial).for_each(|(total, &sum)| *total += sum);
    }
    totals
}

/// sums (K, columns' number) = the sums over a block, in f32, on this thread.
///
/// # Safety
/// The block must lie in the matrix of `summand`.
pub unsafe fn block_sums<const K: usize, S: Summand<K>>(
    isa: Isa,
    summand: S,
    sums: &mut [f32],
    rows: Range<usize>,
    columns: Range<usize>,
) {
    let width = columns.len();
    assert!(sums.len() == K * width, "block_sums: {} sums of {width} columns", sums.len());
    sums.fill(0.0);
    let work = Accumulate { summand, sums: Output::new(sums), start: columns.start, width };
    // SAFETY: the caller's, and the sums are borrowed.
    unsafe { sweep(isa, work, rows, columns) };
}

/// Adds the sums over tiles to `sums` (K, width), those of the columns from `start` on.
#[derive(Clone, Copy)]
struct Accumulate<S, const K: usize> {
    summand: S,
    sums: Output<f32>,
    start: usize,
    width: usize,
}

impl<const K: usize, S: Summand<K>> Tiled for Accumulate<S, K> {
    const HEIGHT: usize = 8;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        // SAFETY: the tile lies in the columns, and its sums are this task's own.
        unsafe {
            let added = self.summand.sums::<V>(rows, span);
            let place = Span { start: span.start - self.start, fewer: span.fewer };
            for (k, added) in added.into_iter().enumerate() {
                let sums = self.sums.at(k * self.width);
                place.store(sums, place.load::<f32, V>(sums).add(added));
            }
        }
    }
}

/// What the elements of a row add to its K sums.
pub trait Terms<V: Vector, const K: usize> {
    /// Lanes beyond the span may hold anything.
    ///
    /// # Safety
    /// The span must lie in the row, with the instruction set of V enabled in the caller.
    unsafe fn of(&self, span: Span) -> [V; K];
}

/// Spans of a row that are summed side by side, since one sum alone would wait for each addition.
const ABREAST: usize = 4;

/// The K sums of a row of `columns`.
///
/// # Safety
/// The row must have `columns` elements, with the instruction set of V enabled in the caller.
#[inline(always)]
pub unsafe fn row_sums<V: Vector, const K: usize, T: Terms<V, K>>(terms: &T, columns: usize) -> [f32; K] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[V::splat(0.0); K]; ABREAST];
        let mut column = 0;
        while column + ABREAST * V::LANES <= columns {
            for (index, sums) in sums.iter_mut().enumerate() {
                let added = terms.of(Span { start: column + index * V::LANES, fewer: None });
                for k in 0..K {
                    sums[k] = sums[k].add(added[k]);
                }
            }
            column += ABREAST * V::LANES;
        }
        for span in spans::<V>(column..columns) {
            let added = terms.of(span);
            for k in 0..K {
                sums[0][k] = sums[0][k].add(span.or(added[k], 0.0));
            }
        }
        let mut totals = [0.0; K];
        for k in 0..K {
            totals[k] = sums[0][k].add(sums[1][k]).add(sums[2][k].add(sums[3][k])).sum_lanes();
        }
        totals
    }
}

/// The largest term of a row of `columns`; NaN is passed over.
///
/// # Safety
/// As for `row_sums`.
#[inline(always)]
pub unsafe fn row_max<V: Vector, T: Terms<V, 1>>(terms: &T, columns: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut largest = V::splat(f32::NEG_INFINITY);
        for span in spans::<V>(0..columns) {
            let [term] = terms.of(span);
            largest = span.or(term, f32::NEG_INFINITY).max(largest);
        }
        largest.max_lanes()
    }
}
